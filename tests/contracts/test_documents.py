"""What the documents promise is there."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from libs.settings import environment_names
from proto import SERVICES
from services.cli import parser
from services.job.engines.options import DOCUMENT, document
from services.job.worker.settings import WorkerSettings
from services.serve import load_service

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "DECISIONS.md", "services/job/OPTIONS.md")
SET_BY_SUPERVISOR = {"LONGSHORE_WORKER_ID"}


def text(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_that_is_named_exists(name: str):
    named = set(re.findall(r"(?<![\w/.-])(?:libs|proto|services|tests|deploy|helm)/[\w./*-]*[\w*/]", text(name)))
    linked = {target for target in re.findall(r"\]\(([^)#]+)\)", text(name)) if "://" not in target}

    assert [path for path in sorted(named | linked) if not list(ROOT.glob(path.rstrip("/")))] == []


def test_the_first_thing_in_the_readme_is_the_two_commands():
    lines = [line for line in text("README.md").splitlines() if line.strip()]

    assert [line.strip() for line in lines[1:3]] == [
        "pip install uv && uv run longshore up",
        "pip install uv && uv run --group dev pytest",
    ]


def test_every_setting_is_in_the_readmes_table_and_nothing_else_is():
    table = text("README.md").partition("## Settings")[2].partition("\n## ")[0]
    documented: set[str] = set()
    for line in table.splitlines():
        if line.startswith("| `"):
            prefix = ""
            for name in re.findall(r"`([A-Z_]+)`", line.split("|")[1]):
                # `LONGSHORE_ADMIN_USERNAME`, `_PASSWORD` stands for LONGSHORE_ADMIN_PASSWORD
                documented.add(name if not name.startswith("_") else prefix + name)
                prefix = name.rpartition("_")[0] if not name.startswith("_") else prefix
    structs = [load_service(name).settings for name in SERVICES] + [WorkerSettings]
    known = set.union(*(environment_names(one) for one in structs)) - SET_BY_SUPERVISOR

    assert documented == known


def commands() -> list[str]:
    """Of the README's code blocks."""
    blocks = re.findall(r"(?m)^ {4}(?:KEY=\$\()?uv run (longshore [^#)\n]+)", text("README.md"))
    return [block.strip() for block in blocks]


@pytest.mark.parametrize("command", commands())
def test_every_command_line_of_the_readme_is_understood(command: str):
    assert parser().parse_args(shlex.split(command)[1:]).command == shlex.split(command)[1]


def test_the_table_of_options_is_the_one_that_the_code_has():
    assert DOCUMENT.read_text("utf-8") == document(), "write it anew: just options"


def test_decisions_are_numbered_one_after_the_other():
    numbers = [int(number) for number in re.findall(r"(?m)^(?:## )?(\d+)\. ", text("DECISIONS.md"))]

    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers


@pytest.mark.parametrize("service", SERVICES)
def test_a_services_package_says_what_it_accepts_announces_and_reacts_to(service: str):
    said = importlib.import_module(f"services.{service}").__doc__ or ""

    assert len(said.splitlines()) > 1
    assert service == "gateway" or f"{service}." in said or "proto" in said
