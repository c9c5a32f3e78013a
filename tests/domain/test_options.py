"""What becomes of a film by what was chosen, before anything is fetched."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from proto.job import Options
from services.job.engines.options import CONTAINERS, EFFECTS
from services.job.engines.ytdlp_live import Patience
from services.job.engines.ytdlp_plan import Content, plan


@pytest.mark.parametrize(
    ("sound", "suffix", "becomes"),
    [("opus", "webm", "mp4"), ("vorbis", "webm", None), ("aac", "flv", "mp4"), ("aac", "mp4", None)],
)
def test_a_film_goes_into_the_preferred_container_when_that_takes_it(sound, suffix, becomes) -> None:
    content = Content(demuxers=frozenset({suffix}), video="vp9", sounds=(sound,), duration=2.0)
    found = plan(Options(preferred_container="mp4"), content, suffix)

    assert (found.suffix if found else None) == becomes
    assert found is None or found.after.count("copy") == 2


def test_every_option_says_what_it_does() -> None:
    """The table is complete."""
    assert set(EFFECTS) == set(Options.__struct_fields__)


def test_every_container_of_the_vocabulary_has_a_form() -> None:
    """And each holds what is made for it."""
    assert set(CONTAINERS) == {"mp4", "mkv", "webm", "mov", "m4a", "mp3", "ogg", "opus"}


def test_a_stream_that_begins_much_later_is_left_to_another_attempt() -> None:
    """Its time is the earliest of that attempt; one that begins soon is waited for here."""
    now = time.time()
    later = Patience().refusal(now + 7200)

    assert later is not None
    assert (later["kind"], later["code"]) == ("transient", "not_begun")
    assert datetime.fromisoformat(later["retry_at"]).timestamp() == pytest.approx(now + 7200)
    assert Patience().refusal(now + 300) is None
    assert Patience().refusal(None) is None
