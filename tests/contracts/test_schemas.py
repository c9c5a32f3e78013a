"""The committed schemas say what the structs say, and every recorded message can still be read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry as Library
from referencing import Resource

from libs.calls import subject
from libs.contracts.golden import OVERVIEW, documents, drift, objections, read
from libs.contracts.schemas import file_name, messages, schema, split, version
from libs.message import Event, Registry
from proto import REGISTRY, SERVICES
from proto.__main__ import SCHEMAS, SIGNALS, UPCASTERS, everything, main, overview
from tests.contracts.record import CORPUS, recorded

GOLDEN = read(SCHEMAS)
LIBRARY = Library().with_resources([(name, Resource.from_contents(body)) for name, body in GOLDEN.items()])
ASYNCAPI = json.loads((SCHEMAS / OVERVIEW).read_bytes())
SAMPLES = sorted(CORPUS.glob("*.json"))


def test_the_committed_schemas_are_what_the_structs_say() -> None:
    """`just schema` would change no file."""
    assert drift(SCHEMAS, documents(everything().values(), overview())) == []


def test_nothing_that_was_written_before_became_unreadable() -> None:
    """Today's structs read all that the committed schemas allowed."""
    assert objections(everything(), GOLDEN, UPCASTERS) == []


def test_no_schema_is_left_over() -> None:
    """A file stands for a message of today, or for an earlier version that an upcaster lifts."""
    today = {file_name(message) for message in everything().values()}

    assert {name for name in GOLDEN if name not in today and split(name) not in UPCASTERS} == set()


def test_check_finds_what_is_written_and_objects_to_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The command that `just check` runs is content, and silent."""
    assert main(["--check"]) == 0

    assert capsys.readouterr().err == ""


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    """Drift is seen in a file that differs and in one that is missing."""
    wanted = {"same.json": b"1", "differs.json": b"2", "missing.json": b"3"}
    (tmp_path / "same.json").write_bytes(b"1")
    (tmp_path / "differs.json").write_bytes(b"0")

    assert drift(tmp_path, wanted) == ["differs.json", "missing.json"]


def test_every_command_and_event_has_a_recorded_sample() -> None:
    """A new message comes with its sample: `just schema` records it."""
    names = {file_name(message) for message in recorded(everything())}

    assert names - {path.name for path in SAMPLES} == set()


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_recorded_message_still_decodes(path: Path) -> None:
    """Whatever was stored or sent at any time becomes today's struct, through upcasters where it must."""
    label, number = split(path.name)
    for body in json.loads(path.read_bytes()):
        data = json.dumps(body).encode()
        decoded = REGISTRY.event(label, number, data) if label in REGISTRY.events else REGISTRY.command(label, data)

        assert decoded.__struct_config__.tag == label


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_recorded_message_fits_the_schema_of_its_version(path: Path) -> None:
    """The schema says the truth about what travels."""
    validator = Draft202012Validator(GOLDEN[path.name], registry=LIBRARY)

    assert [error.message for body in json.loads(path.read_bytes()) for error in validator.iter_errors(body)] == []


class _Released(Event, tag="sample.happened", kw_only=True, frozen=True):
    schema_version = 2
    who: str


class _Module:
    """Stands for a module of proto."""


def test_an_old_version_needs_an_upcaster() -> None:
    """Raising the version is an answer only together with the function that lifts what was stored."""
    golden = {"sample.happened.v1.json": schema(_Released)}
    found = {"sample.happened": _Released}

    assert objections(found, golden, {("sample.happened", 1)}) == []
    assert objections(found, golden, set()) == ["sample.happened: version 1 was written, and no upcaster lifts it"]


def test_a_message_that_is_gone_is_noticed() -> None:
    """Removing a message, or changing its tag, leaves what was sent without a reader."""
    [objection] = objections({}, {"sample.happened.v2.json": schema(_Released)}, set())

    assert objection.startswith("sample.happened: the message is gone")


# ---- AsyncAPI -------------------------------------------------------------------------------------------------


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def look_up(reference: str) -> Any:
    file, _, pointer = reference.partition("#")
    node = json.loads((SCHEMAS / file).read_bytes()) if file else ASYNCAPI
    for part in pointer.split("/")[1:]:
        node = node[part]
    return node


def test_every_reference_of_the_overview_leads_somewhere() -> None:
    """No link in the document is dead."""
    assert [one for one in references(ASYNCAPI) if not look_up(one)] == []


def test_every_channel_and_message_is_used() -> None:
    """Each channel has an operation or is where one is answered, and each message travels on a channel."""
    used = set(references(ASYNCAPI["operations"])) | set(references(ASYNCAPI["channels"]))

    assert {name for name in ASYNCAPI["channels"] if f"#/channels/{name}" not in used} == set()
    assert {name for name in ASYNCAPI["components"]["messages"] if f"#/components/messages/{name}" not in used} == set()


def test_the_overview_names_the_subjects_that_are_spoken() -> None:
    """Where a command or query goes is what the calling code computes."""
    calls = {**REGISTRY.commands, **REGISTRY.queries}

    assert {name: ASYNCAPI["channels"][name]["address"] for name in calls} == {
        name: subject(message) for name, message in calls.items()
    }


def test_every_service_takes_what_it_owns_and_answers_it() -> None:
    """One receive operation with a reply for each command and query, one send operation for each event and signal."""
    operations = ASYNCAPI["operations"].values()
    answered = {one["channel"]["$ref"].rpartition("/")[2] for one in operations if "reply" in one}
    sent = {one["channel"]["$ref"].rpartition("/")[2] for one in operations if one["action"] == "send"}

    assert answered == {*REGISTRY.commands, *REGISTRY.queries}
    assert sent == {*REGISTRY.events, *(str(signal.message.__struct_config__.tag) for signal in SIGNALS)}
    assert {tag["name"] for one in operations for tag in one["tags"]} == {*SERVICES, "worker", "any"}


def test_every_example_fits_its_schema() -> None:
    """An example in the document is a message that could be sent."""
    wrong = []
    for name, message in ASYNCAPI["components"]["messages"].items():
        payload = message["payload"].get("schema", message["payload"])
        validator = Draft202012Validator(payload, registry=LIBRARY)
        wrong += [
            (name, error.message) for one in message["examples"] for error in validator.iter_errors(one["payload"])
        ]

    assert wrong == []


def test_versions_are_in_the_file_names() -> None:
    """A file says which version of which message it is."""
    found = messages(Registry(())) | everything()

    assert {split(file_name(message)) for message in found.values()} == {
        (label, version(message)) for label, message in found.items()
    }
