"""Settings from everywhere, and every mistake at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from libs.settings import BadSettings, load


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    data_dir: Path
    http_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 8080
    base_url: str = "http://localhost"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    data_dir: Path
    host_limit: int = 16
    otlp_endpoint: str | None = None


BOTH = {"gateway": Gateway, "job": Job}


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
        "Correct LONGSHORE_HOST_LIMIT: Expected `int`, got `str`.",
        "Correct LONGSHORE_HTTP_PORT: Expected `int` <= 65535.",
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
    load({"job": Job}, {"LONGSHORE_DATA_DIR": "/d", "LONGSHORE_WORKERS": "3"}, known={"LONGSHORE_WORKERS"})
