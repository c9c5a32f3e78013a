"""What counts as the same link with the same wishes."""

from __future__ import annotations

import pytest

from proto.job import Options
from services.job.domain.duplicates import canonical, fingerprint

LINK = "https://example.org/a?b=1"


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://EXAMPLE.org/a?b=1",
        "https://example.org:443/a?b=1",
        "https://example.org./a?b=1",
        "https://example.org/a?b=1#",
    ],
)
def test_spellings_that_lead_to_the_same_place_are_one_link(url: str):
    assert canonical(url) == LINK


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a?b=1",
        "https://example.org:444/a?b=1",
        "https://example.org/A?b=1",
        "https://example.org/a?b=1#key",
    ],
)
def test_whatever_may_lead_elsewhere_is_another_link(url: str):
    assert canonical(url) != LINK


def test_a_link_without_a_path_leads_to_the_root():
    assert canonical("https://example.org") == canonical("https://example.org/")


def test_other_wishes_are_another_job_and_labels_are_not():
    plain = fingerprint(LINK, Options())

    assert fingerprint(LINK, Options(audio_only=True)) != plain
    assert fingerprint(LINK, Options(directory=("a",))) != plain
    assert fingerprint(LINK, Options(labels={"a": "b"})) == plain
