"""Settings from everywhere, and every mistake at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from libs.settings import BadSettings, load, read
from proto import SERVICES
from services.job.worker.settings import WorkerSettings
from services.serve import load_settings


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    data_dir: Path
    http_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 8080
    base_url: str = "http://localhost"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    data_dir: Path
    host_limit: int = 16
    otlp_endpoint: str | None = None


BOTH: dict[str, type[msgspec.Struct]] = {"gateway": Gateway, "job": Job}


def test_every_mistake_is_told_at_once_in_words_that_say_what_to_do(tmp_path: Path):
    file = tmp_path / "longshore.toml"
    file.write_text('base_urll = "x"\n[job]\nhost_limits = 3\n')
    environ = {
        "LONGSHORE_CONFIG": str(file),
        "LONGSHORE_HTTP_PORT": "99999",
        "LONGSHORE_HOST_LIMIT": "many",
        "LONGSHORE_BASE_ULR": "http://example.com",
        "HOME": "/root",
    }
    with pytest.raises(BadSettings) as bad:
        load(BOTH, environ)

    assert sorted(bad.value.problems) == [
        "Correct LONGSHORE_HOST_LIMIT: it must be a whole number.",
        "Correct LONGSHORE_HTTP_PORT: it must be a whole number from 1 to 65535.",
        "Remove LONGSHORE_BASE_ULR: no such setting; did you mean LONGSHORE_BASE_URL.",
        "Remove base_urll from the file: no such setting; did you mean base_url.",
        "Remove job.host_limits from the file: no such setting; did you mean host_limit.",
        "Set LONGSHORE_DATA_DIR: it has no default.",
    ]


def test_the_caller_goes_before_the_environment_that_before_the_services_table_that_before_the_file(tmp_path: Path):
    file = tmp_path / "longshore.toml"
    file.write_text('data_dir = "/file"\nhost_limit = 1\nbase_url = "http://file"\n[job]\nhost_limit = 2\n')
    loaded = load(
        BOTH,
        {"LONGSHORE_CONFIG": str(file), "LONGSHORE_BASE_URL": "http://environment", "LONGSHORE_HTTP_PORT": "81"},
        given={"gateway": {"http_port": 82}},
    )

    assert loaded["gateway"] == Gateway(data_dir=Path("/file"), http_port=82, base_url="http://environment")
    assert loaded["job"] == Job(data_dir=Path("/file"), host_limit=2)


def test_a_file_that_can_not_be_read_is_a_mistake_like_any_other(tmp_path: Path):
    missing, broken = tmp_path / "none.toml", tmp_path / "broken.toml"
    broken.write_text("=")
    for path, words in ((missing, "No such file"), (broken, "Correct the TOML file")):
        with pytest.raises(BadSettings, match=words):
            load({}, {"LONGSHORE_CONFIG": str(path)})


def test_the_name_of_a_standard_is_used_where_there_is_one():
    loaded = load({"job": Job}, {"LONGSHORE_DATA_DIR": "/d", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"})

    assert loaded["job"].otlp_endpoint == "http://collector:4318"


def test_a_setting_that_belongs_to_somebody_else_is_no_mistake():
    load({"job": Job}, {"LONGSHORE_DATA_DIR": "/d", "LONGSHORE_WORKERS": "3"}, known=lambda: {"LONGSHORE_WORKERS"})


def test_nobody_is_asked_for_others_settings_while_every_name_is_ours(tmp_path: Path):
    file = tmp_path / "longshore.toml"
    file.write_text('data_dir = "/d"\n[gateway]\nhost_limit = 2\n')
    asked = []

    def others() -> list[str]:
        asked.append(True)
        return []

    load({"job": Job}, {"LONGSHORE_CONFIG": str(file)}, known=others, tables=["gateway"])
    assert not asked

    problems_of({"job": Job}, {"LONGSHORE_DATA_DIR": "/d", "LONGSHORE_WORKER": "3"}, known=others)
    assert asked


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    secret_key: Annotated[str, msgspec.Meta(min_length=32)]


def problems_of(structs: dict[str, type[msgspec.Struct]], environ: dict[str, str], **more) -> tuple[str, ...]:
    with pytest.raises(BadSettings) as bad:
        load(structs, environ, **more)
    return bad.value.problems


def test_what_is_shown_of_a_mistake_is_all_of_it_a_line_each():
    with pytest.raises(BadSettings) as bad:
        load(BOTH, {"LONGSHORE_HTTP_PORT": "0"})

    assert str(bad.value).splitlines() == list(bad.value.problems)
    assert len(bad.value.problems) == 2


def test_a_mistake_in_what_two_services_share_is_told_once(tmp_path: Path):
    file = tmp_path / "longshore.toml"
    file.write_text("data_dir = 3\n")

    assert problems_of(BOTH, {"LONGSHORE_CONFIG": str(file)}) == (
        "Correct LONGSHORE_DATA_DIR: Expected a path, got `int`.",
    )


def test_a_secret_that_is_too_short_is_not_repeated_where_it_could_be_read():
    (problem,) = problems_of({"auth": Sealed}, {"LONGSHORE_SECRET_KEY": "hunter2"})

    assert problem == "Correct LONGSHORE_SECRET_KEY: it must be text of 32 characters or more."


def test_a_name_with_our_prefix_that_nobody_knows_is_refused_and_one_without_it_is_left_alone():
    (problem,) = problems_of({"job": Job}, {"LONGSHORE_DATA_DIR": "/d", "LONGSHORE_QQQ": "1", "QQQ": "1"})

    assert problem.startswith("Remove LONGSHORE_QQQ: no such setting")


def test_an_empty_value_is_a_mistake_and_not_the_default():
    (problem,) = problems_of({"job": Job}, {"LONGSHORE_DATA_DIR": "/d", "LONGSHORE_HOST_LIMIT": ""})

    assert problem.startswith("Correct LONGSHORE_HOST_LIMIT: ")


def test_a_file_that_is_not_utf8_is_a_mistake_beside_the_others(tmp_path: Path):
    file = tmp_path / "longshore.toml"
    file.write_bytes(b'data_dir = "/d\xe9p\xf4t"\n')
    problems = problems_of({"job": Job}, {"LONGSHORE_CONFIG": str(file), "LONGSHORE_HOST_LIMIT": "many"})

    assert any(str(file) in one for one in problems)
    assert "Correct LONGSHORE_HOST_LIMIT: it must be a whole number." in problems


@pytest.mark.parametrize("name", ["LONGSHORE_DATA_DIR", "LONGSHORE_CONFIG"])
def test_the_home_of_nobody_is_a_mistake_beside_the_others(name: str):
    environ = {"LONGSHORE_DATA_DIR": "/d", "LONGSHORE_HOST_LIMIT": "many", name: "~nobody-of-this-name/longshore"}
    problems = problems_of({"job": Job}, environ)

    assert any(name in one for one in problems)
    assert "Correct LONGSHORE_HOST_LIMIT: it must be a whole number." in problems


def test_one_file_serves_a_service_that_runs_alone_and_all_the_others(tmp_path: Path):
    """As the environment does: what is another service's is no mistake."""
    file = tmp_path / "longshore.toml"
    file.write_text('data_dir = "/d"\nhttp_port = 8000\n[gateway]\nhttp_port = 8001\n')
    loaded = load(
        {"job": Job}, {"LONGSHORE_CONFIG": str(file)}, known=lambda: {"LONGSHORE_HTTP_PORT"}, tables=["gateway"]
    )

    assert loaded["job"] == Job(data_dir=Path("/d"))


class Words(tuple[str, ...]):
    """A type with more to say than that something is wrong."""

    __slots__ = ()

    @classmethod
    def read_setting(cls, value: object) -> Words:
        wrong = [word for word in str(value).split() if not word.isalpha()]
        if wrong:
            raise BadSettings(f"{word} is no word" for word in wrong)
        return cls(str(value).split())


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    words: Words = Words()
    size: int = 0


def test_a_setting_may_have_several_mistakes_and_all_are_told():
    with pytest.raises(BadSettings) as bad:
        load({"reader": Reader}, {"LONGSHORE_WORDS": "a 1 b 2", "LONGSHORE_SIZE": "x"})

    assert sorted(bad.value.problems) == [
        "Correct LONGSHORE_SIZE: it must be a whole number.",
        "Correct LONGSHORE_WORDS: 1 is no word.",
        "Correct LONGSHORE_WORDS: 2 is no word.",
    ]
    assert load({"reader": Reader}, {"LONGSHORE_WORDS": "a b"})["reader"].words == ("a", "b")


EVERYTHING: dict[str, type[msgspec.Struct]] = {name: load_settings(name) for name in SERVICES} | {
    "worker": WorkerSettings
}
NEEDED = {
    "LONGSHORE_DATA_DIR": "/d",
    "LONGSHORE_SECRET_KEY": "k" * 32,
    "LONGSHORE_DATABASE_URL": "postgresql://u:p@h/longshore",
    "LONGSHORE_NATS_URL": "nats://h:4222",
}
WRONG = {
    "LONGSHORE_SECRET_KEY": ("short", "it must be text of 16 characters or more"),
    "LONGSHORE_DATABASE_URL": (
        "mysql://h/x",
        "it must be an address such as postgresql://user:password@host/longshore",
    ),
    "LONGSHORE_NATS_URL": ("h:4222", "it must be an address such as nats://127.0.0.1:4222"),
    "LONGSHORE_HTTP_HOST": ("", "it must be text that is not empty"),
    "LONGSHORE_HTTP_PORT": ("70000", "it must be a whole number from 1 to 65535"),
    "LONGSHORE_PUBLIC_URL": ("example.org", "it must be an address such as https://example.org"),
    "LONGSHORE_LINK_KEYS": ("1,,2", "it must be ids separated by commas, such as 2,1"),
    "LONGSHORE_ADMIN_USERNAME": ("a b", "it must be a name of letters, digits, `.`, `_` and `-`"),
    "LONGSHORE_ADMIN_PASSWORD": ("short", "a password needs at least 8 characters, not all the same"),
    "LONGSHORE_WORKER_SLOTS": ("0", "it must be a whole number from 1 to 256"),
    "LONGSHORE_HOST_LIMIT": ("0", "it must be a whole number, 1 or more"),
    "LONGSHORE_DUPLICATE_SECONDS": ("-1", "it must be a whole number, 0 or more"),
    "LONGSHORE_EXTENSIONS": ("/", "it must be endings of files separated by commas, such as default,exe"),
    "LONGSHORE_DOWNLOAD_EARLY": ("maybe", "it must be true or false"),
    "LONGSHORE_DOWNLOAD_REMOTE": ("copy", "it must be redirect or stream"),
    "LONGSHORE_DOWNLOAD_ACCEL": ("stored", "it must be a path such as /stored"),
    "LONGSHORE_GALLERY_INSTANCES": ("mastodon", "'mastodon' is not software=https://host"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("collector:4318", "it must be an address such as https://example.org"),
}


def test_every_setting_of_ours_that_is_wrong_is_told_at_once_and_how_it_must_be():
    """Nothing but a default, and nothing that only fails when it is used."""
    problems = problems_of(EVERYTHING, NEEDED | {name: value for name, (value, _) in WRONG.items()})

    assert sorted(problems) == sorted(f"Correct {name}: {told}." for name, (_, told) in WRONG.items())


def test_networks_that_are_opened_are_checked_before_anything_relies_on_them():
    (problem,) = problems_of(EVERYTHING, NEEDED | {"LONGSHORE_EGRESS_ALLOW": "10.0.0.0/99"})

    assert problem.startswith("Correct LONGSHORE_EGRESS_ALLOW: '10.0.0.0/99'")


def test_one_setting_is_read_from_wherever_it_was_said(tmp_path: Path):
    file = tmp_path / "longshore.toml"
    file.write_text('admin_username = "boss"\notlp_endpoint = "http://file"\n')
    environ = {"LONGSHORE_CONFIG": str(file), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://environment"}

    assert [read(field, environ) for field in ("admin_username", "otlp_endpoint", "data_dir")] == [
        "boss",
        "http://environment",
        None,
    ]


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"LONGSHORE_HTTP_HOST": "::1", "LONGSHORE_HTTP_PORT": "81"}, "http://[::1]:81"),
        ({"LONGSHORE_PUBLIC_URL": "https://example.org/longshore/"}, "https://example.org/longshore"),
    ],
)
def test_the_address_of_links_is_one_that_clients_can_follow(told: dict[str, str], address: str):
    loaded = load({"auth": EVERYTHING["auth"]}, NEEDED | told)

    assert loaded["auth"].base_url == address


@pytest.mark.parametrize("field", ["data_dir", "secret_key", "admin_username", "otlp_endpoint", "nats_url"])
def test_a_number_where_there_must_be_text_is_a_mistake_before_anything_is_done_with_it(tmp_path: Path, field: str):
    file = tmp_path / "longshore.toml"
    file.write_text(f"{field} = 5\n")
    with pytest.raises(BadSettings, match="it must be text, in quotes"):
        read(field, {"LONGSHORE_CONFIG": str(file)})
