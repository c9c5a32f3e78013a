run := "uv run --group dev"

# Say what can be done here.
help:
    @just --list --unsorted --justfile {{justfile()}}

# Start everything on this machine; Ctrl-C stops it.
up *options:
    uv run longshore up {{options}}

# Run every check that needs no server: format, lint, types, imports, schemas.
check:
    {{run}} ruff format --check .
    {{run}} ruff check .
    @just types imports
    {{run}} python -m proto --check

# Run the tests; options go to pytest.
test *options:
    {{run}} pytest {{options}}

# Put the code into its standard form.
fmt:
    {{run}} ruff format .
    {{run}} ruff check --fix .

# Check the types of services, libs, proto and tests.
types:
    {{run}} mypy

# Check who may import whom.
imports:
    {{run}} lint-imports

# Write proto/schema again from the structs; it refuses a change that old messages would not survive.
schema *options:
    {{run}} python -m proto {{options}}
    {{run}} python -m tests.contracts.record {{options}}

# Write services/job/OPTIONS.md again from the table in the code.
options:
    {{run}} python -m services.job.engines.options

# Measure what the README claims, beside a peer or a raw limit in the same run.
bench *options:
    {{run}} python -m tests.bench {{options}}
