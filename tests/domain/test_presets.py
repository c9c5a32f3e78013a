"""Options under a name."""

from __future__ import annotations

import json

import pytest

from libs.settings import BadSettings
from proto.job import Options
from services.job.engines.presets import Presets, UnknownPreset

PODCAST = {"audio_only": True, "container": "mp3", "audio_bitrate": 128, "directory": ["casts"]}


def test_what_a_job_chooses_itself_goes_before_its_preset():
    presets = Presets.read_setting({"podcast": PODCAST})
    chosen = Options(preset="podcast", audio_bitrate=64, filename="one")

    assert presets.applied(chosen) == Options(
        audio_only=True, container="mp3", audio_bitrate=64, directory=("casts",), filename="one"
    )
    assert presets.applied(Options(max_height=720)) == Options(max_height=720)


def test_a_preset_that_nobody_has_defined_is_none():
    with pytest.raises(UnknownPreset):
        Presets().applied(Options(preset="podcast"))


def test_json_says_the_same_as_a_table():
    assert Presets.read_setting(json.dumps({"podcast": PODCAST})).names == ("podcast",)
    assert Presets.read_setting("").names == ()


def test_every_mistake_in_presets_is_told_at_once():
    wrong = {
        "Bad Name": {},
        "one": {"container": "avi", "max_height": 1, "colour": "red"},
        "two": {"webhook_url": "http://example.org"},
        "three": {"container": "mp3"},
        "four": 4,
    }
    with pytest.raises(BadSettings) as bad:
        Presets.read_setting(wrong)

    told = "\n".join(bad.value.problems)
    assert len(bad.value.problems) == 7
    for part in (
        "'Bad Name'",
        "avi",
        "`$.max_height`",
        "colour",
        "webhook_url",
        "three: mp3 holds sound alone",
        "four",
    ):
        assert part in told


@pytest.mark.parametrize("text", ["{", "[1]", "1"])
def test_what_is_no_table_is_refused(text: str):
    with pytest.raises(BadSettings):
        Presets.read_setting(text)
