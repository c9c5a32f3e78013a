"""What is on the wire, word for word."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from tests.dialects.contract import DOCUMENTS, Contract
from tests.dialects.transcript import Player, read
from tests.support.system import PASSWORD

GOLDEN = Path(__file__).parent / "golden"
CONVERSATIONS = sorted(GOLDEN.rglob("*.http"))


def known(user, site) -> dict[str, str]:
    name = f"{uuid4().hex}.bin"
    return {
        "jobs_key": user.keys["jobs"],
        "gdluxx_key": user.keys["gdluxx"],
        "external_key": user.keys["external"],
        "user": user.name,
        "password": PASSWORD,
        "site": site.url("").rstrip("/"),
        "name": name,
        "file": site.file(1000, name),
        "slow": site.file(1000, f"slow-{name}", gate=f"gate-{name}", gate_at="head"),
    }


@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda path: f"{path.parent.name}-{path.stem}")
async def test_a_conversation_goes_as_it_was_written_down(path: Path, user, site):
    async with user.http() as http:
        dialect = path.parent.name
        contract = Contract(dialect) if dialect in DOCUMENTS else None
        player = Player(http.session, http.url, known(user, site), contract)
        for exchange in read(path):
            assert await player.play(exchange) == []


async def test_the_socket_tells_of_a_download_in_the_frames_that_were_written_down(user, site):
    """Progress is left out: how often it is told depends on the machine."""
    wanted = json.loads((GOLDEN / "webgui" / "a-download.json").read_text())
    async with user.http() as http, http.socket() as socket:
        player = Player(http.session, http.url, known(user, site))
        player.known["job"] = await http.submit(player.known["file"])
        await socket.until(lambda frame: frame["type"] == "notification")
        frames = [frame for frame in socket.frames if frame["type"] != "download_progress"]

    assert player.differences(frames, wanted, "frames") == []
