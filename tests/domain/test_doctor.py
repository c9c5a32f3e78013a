"""What `longshore doctor` says to a disk that is full."""

from __future__ import annotations

from pathlib import Path

from libs.calls import ServiceFailed
from services.doctor import of_disk, unanswered

MIB = 1 << 20


def test_below_what_is_kept_for_the_database_it_is_said_that_no_download_begins():
    found = of_disk(90 * MIB, Path("/data"))

    assert found.state == "90 MiB free at /data: no download begins below 256 MiB, kept for the database"
    assert found.remedy == "Make room, or choose another folder with --data."


def test_what_a_full_disk_keeps_from_answering_is_not_sought_in_logs():
    full = unanswered("gateway", ServiceFailed("gateway.jobs: the disk of the database is full"))
    other = unanswered("gateway", ServiceFailed("gateway.jobs: KeyError"))

    assert full.remedy == "Make room on that disk; everything goes on by itself then."
    assert other.remedy == "Look into the logs of `longshore up`, then restart it."
