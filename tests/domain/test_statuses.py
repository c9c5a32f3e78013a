"""One HTTP status means one thing, whichever engine was answered so."""

from __future__ import annotations

import pytest

from services.job.engines.gallery_failures import failure_in
from services.job.engines.statuses import by_status
from services.job.engines.ytdlp_failures import classify


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 410, 416, 425, 429, 451, 500, 503])
def test_a_status_is_the_same_failure_in_every_engine(status: int):
    kind, code, message = by_status(status)
    gallery = failure_in([f"download: '{status} Whatever' for 'https://files.test/a'"])
    ytdlp = classify(OSError(f"unable to download: HTTP Error {status}: Whatever"))

    assert (gallery.kind, gallery.code, gallery.message) == (kind, code, message)
    assert (ytdlp["kind"], ytdlp["code"], ytdlp["message"]) == (kind, code, message)
