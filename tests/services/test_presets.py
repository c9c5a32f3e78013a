"""Presets that an operator has defined."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.system import ROOT, Installed, System, longshore, running

PRESETS = {"few": {"max_items": 2}, "song": {"audio_only": True, "container": "mp3", "audio_bitrate": 64}}


@pytest.fixture(scope="module")
def defined(tmp_path_factory, site, installed: Installed) -> Iterator[System]:
    settings: dict[str, Any] = {
        "LONGSHORE_PRESETS": json.dumps(PRESETS),
        "LONGSHORE_GALLERY_INSTANCES": "mastodon=http://don.test",
    }
    with running(
        installed.at(tmp_path_factory.mktemp("presets") / "data"), site.egress_allow + ",127.0.0.0/8", **settings
    ) as one:
        yield one


async def test_a_preset_of_the_operator_is_asked_for_like_theirs(defined, site):
    user = defined.user()
    async with user.http() as http:
        few = await http.ended(await http.submit("http://don.test/@many-9", quality_preset="few"))
        song = await http.ended(await http.submit(site.url("/watch/embed"), quality_preset="song"))
        unknown = await http.jobs("POST", "/jobs", {"url": site.url("/watch/embed"), "quality_preset": "best"})
        history = http.history(few["id"])

    assert history.count("job.item_completed") == 2
    assert (song["format"], song["audio_only"], song["s3_key"].rpartition(".")[2]) == ("mp3", True, "mp3")
    assert unknown == (400, {"error": "quality_preset must be one of high, highest, low, lowest, medium, few, song"})


async def test_a_preset_is_asked_for_from_the_terminal(defined):
    out = await asyncio.to_thread(
        longshore, "get", "http://don.test/@many-8", "--preset", "few", "--json", data=defined.data
    )

    assert len(json.loads(out)["files"]) == 2


def test_presets_with_mistakes_keep_everything_from_starting_and_all_are_told(tmp_path):
    wrong = {"one": {"container": "avi"}, "two": {"colour": "red"}}
    done = subprocess.run(
        [sys.executable, "-m", "services", "up", "--data", str(tmp_path / "data")],
        cwd=ROOT, env={**os.environ, "LONGSHORE_PRESETS": json.dumps(wrong)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode != 0
    assert "one: Invalid enum value 'avi'" in done.stderr
    assert "two: a preset has no option called colour" in done.stderr
