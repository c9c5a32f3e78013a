"""A download manager with a plugin for the external API, as a third party writes it: from its documents alone.

It is run as a program, `python external.py` with its task as JSON on stdin, and imports nothing of the server. What
the documents promise is asserted as it goes along; the last line that it prints is `ok`. What it would keep over a
restart of its own is in `state.json` in its folder.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

STATE = Path("state.json")
RETRIED = {54, 55, 56, 105, 106, 107}
CHUNKS = 16
ROW = {
    "maxChunks": int,
    "maxDownloads": int,
    "resumable": bool,
    "currently_working": bool,
    "trafficmax_daily": int,
}
LINK = {
    "linkId": str,
    "download_ready": bool,
    "remote_status": str,
    "link": (str, type(None)),
    "filename": str,
    "filesize": str,
    "maxchunks": int,
    "resumable": bool,
    "poll_after_seconds": int,
}


class ApiError(Exception):
    def __init__(self, http: int, body: Any) -> None:
        super().__init__(f"{http}: {body}")
        self.http = http
        self.status = body["status"]


def typed(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, kind in wanted.items():
        assert isinstance(found[name], kind), (name, found)
        assert kind is bool or not isinstance(found[name], bool), (name, found)


class Plugin:
    def __init__(self, base: str, key: str, interval: float) -> None:
        self.base = f"{base}/api/external/v1"
        self.interval = interval
        self.session = requests.Session()
        # As plugins do: one browser object, whose headers also go along with the download.
        self.session.headers["Authorization"] = f"Bearer {key}"

    def call(self, method: str, path: str, body: Any = None, headers: Any = None) -> Any:
        answer = self.session.request(method, self.base + path, json=body, headers=headers, timeout=60)
        said = answer.json()
        assert answer.headers["Content-Type"] == "application/json", answer.headers
        assert "Access-Control-Allow-Origin" not in answer.headers
        if answer.status_code == 200:
            assert said["success"] is True, said
            return said["data"]
        assert said["success"] is False, said
        assert said["msg"], said
        if said["status"] in RETRIED:
            assert int(answer.headers["Retry-After"]) == said["retry_in_seconds"] > 0, said
        raise ApiError(answer.status_code, said)

    def account(self) -> dict[str, Any]:
        found = dict(self.call("GET", "/account"))
        typed(found, {"trafficleft": int, "trafficmax": int, "trafficmax_daily": int, "login_check_interval": int})
        assert found["accountType"] == ("premium" if found["trafficmax"] > 0 else "free"), found
        assert found["timeleft"] is None or found["timeleft"] > 0, found
        return found

    def hosts(self) -> dict[str, dict[str, Any]]:
        """By hostname."""
        found = self.call("GET", "/hosts")
        assert abs(found["updated_at"] / 1000 - time.time()) < 86400, found
        rows = {row["host"]: row for row in found["supportedhosts"]}
        for row in rows.values():
            typed(row, ROW)
            known = "trafficleft" in row
            # A plugin sets what is left of a host from these two: nothing known must not look like nothing left.
            assert not row["currently_working"] or not known or row["trafficleft"] or row["trafficmax_daily"], row
        grouped = self.call("GET", "/hosts/grouped")["supportedhosts"]
        assert sorted(rows) == sorted(domain for one in grouped for domain in one["domains"]), grouped
        for one in grouped:
            assert one["platform"], one
            assert one["host"] in one["domains"] == sorted(one["domains"]), one
            for domain in one["domains"]:
                same = {name: one[name] for name in rows[domain] if name != "host"}
                assert same == {name: value for name, value in rows[domain].items() if name != "host"}, one
        return rows

    def unrestrict(self, url: str) -> dict[str, Any]:
        found = dict(self.call("POST", "/unrestrict", {"url": url, "password": ""}))
        typed(found, {**LINK, "hostDomain": str, "reusedExisting": bool})
        assert found["download_ready"] == (found["remote_status"] == "done") == (found["link"] is not None), found
        return found

    def poll(self, link_id: str, patience: float) -> dict[str, Any] | None:
        """None when it is not ready in time."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            found = dict(self.call("GET", f"/link/{link_id}"))
            typed(found, LINK)
            assert not found.keys() & {"hostDomain", "reusedExisting"}, found
            assert 0 <= found.get("progress_percent", 0) <= 100, found
            assert found["remote_status"] in ("pending", "downloading", "done"), found
            assert found["poll_after_seconds"] == 2, found
            if found["download_ready"]:
                return found
            time.sleep(self.interval)
        return None

    def fetch(self, link: str, first: int, last: int, total: int, **headers: str) -> bytes:
        asked = {"Range": f"bytes={first}-{last}", **headers}
        answer = self.session.get(link, headers=asked, timeout=60, allow_redirects=False)
        assert answer.status_code == 206, (answer.status_code, answer.text[:200])
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{total}", answer.headers
        return answer.content


def refused(http: int, status: int, ask: Callable[..., Any], *args: Any) -> None:
    try:
        answer = ask(*args)
    except ApiError as error:
        assert (error.http, error.status) == (http, status), error
        return
    raise AssertionError(f"was not refused: {answer}")


def begin(plugin: Plugin, task: dict[str, Any]) -> None:
    base = task["base"]
    assert requests.get(f"{base}/api/external/v1/docs", timeout=60).status_code == 200
    refused(401, 1, Plugin(base, "obb_" + "0" * 40, 1).account)
    header = Plugin(base, "", 1)
    del header.session.headers["Authorization"]
    refused(401, 1, header.account)
    assert header.call("GET", "/account", headers={"X-Api-Key": task["key"]}) == plugin.account()

    before = plugin.account()["trafficleft"]
    host = plugin.hosts()["rapidgator.net"]
    assert host["currently_working"], host

    first = plugin.unrestrict(task["url"])
    assert (first["reusedExisting"], first["filesize"], first["filename"]) == (False, str(task["size"]), task["name"])
    assert first["hostDomain"] == "rapidgator.net", first
    # Too slow for a plugin's patience: it gives up, and the user starts the download again.
    assert plugin.poll(first["linkId"], task["patience"]) is None, "was ready too soon to see what is reused"
    again = plugin.unrestrict(task["alias"])
    assert (again["linkId"], again["reusedExisting"]) == (first["linkId"], True), again
    ready = plugin.poll(first["linkId"], 60)
    assert ready is not None
    assert before - plugin.account()["trafficleft"] == task["size"], "charged once"
    link, size = ready["link"], task["size"]

    head = plugin.session.head(link, timeout=60)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(size)), head.headers
    assert head.headers["Accept-Ranges"] == "bytes", head.headers
    assert head.headers["Content-Disposition"].startswith("attachment"), head.headers
    assert "html" not in head.headers["Content-Type"], head.headers
    step = -(-size // CHUNKS)
    spans = [(start, min(start + step, size) - 1) for start in range(0, size, step)]
    with ThreadPoolExecutor(CHUNKS) as pool:
        parts = list(pool.map(lambda span: plugin.fetch(link, span[0], span[1], size), spans))
    whole = requests.get(link, timeout=60).content
    assert b"".join(parts) == whole, "sixteen ranges at once are not the file"
    assert hashlib.sha256(whole).hexdigest() == task["sha256"]

    # A pause in the middle: what came is kept, the connection is not.
    kept = b""
    with plugin.session.get(link, stream=True, timeout=60) as answer:
        etag = answer.headers["ETag"]
        while len(kept) < size // 3:
            kept += answer.raw.read(65536)
    Path("half").write_bytes(kept)
    STATE.write_text(json.dumps({"link": link, "linkId": ready["linkId"], "etag": etag}))


def resume(plugin: Plugin, task: dict[str, Any]) -> None:
    """The server was started anew meanwhile."""
    state, kept, size = json.loads(STATE.read_text()), Path("half").read_bytes(), task["size"]
    rest = plugin.fetch(state["link"], len(kept), size - 1, size, **{"If-Range": state["etag"]})
    assert hashlib.sha256(kept + rest).hexdigest() == task["sha256"]
    before = plugin.account()["trafficleft"]
    again = plugin.unrestrict(task["url"])
    assert (again["linkId"], again["reusedExisting"]) == (state["linkId"], True), again
    assert (again["remote_status"], again["link"]) == ("done", state["link"]), "the link is the same"
    assert plugin.account()["trafficleft"] == before, "and costs nothing"

    refused(400, 101, plugin.unrestrict, "https://nobody.example/file/1")
    refused(404, 104, plugin.unrestrict, task["offline"])
    refused(404, 900, plugin.call, "GET", "/link/AAAAAAAAAAAAAAAAAAAAAA")
    stranger = Plugin(task["base"], task["stranger"], 1)
    refused(404, 900, stranger.call, "GET", f"/link/{state['linkId']}")
    assert stranger.account()["trafficleft"] > 0


def late(plugin: Plugin, task: dict[str, Any]) -> None:
    """Addresses end after a moment here; the file is kept."""
    old = plugin.unrestrict(task["url"])
    until = time.monotonic() + 30
    while (answer := plugin.session.get(old["link"], timeout=60, allow_redirects=False)).status_code == 200:
        assert time.monotonic() < until, "does not end"
        time.sleep(plugin.interval)
    assert answer.status_code == 410, answer.status_code
    assert answer.headers["Content-Type"].startswith("text/plain"), answer.headers
    assert "<" not in answer.text
    new = plugin.unrestrict(task["url"])
    assert (new["linkId"], new["reusedExisting"]) == (old["linkId"], True), new
    assert new["link"] != old["link"]
    assert len(plugin.session.get(new["link"], timeout=60).content) == task["size"]


def main() -> None:
    task = json.load(sys.stdin)
    plugin = Plugin(task["base"], task["key"], task["interval"])
    {"begin": begin, "resume": resume, "late": late}[task["phase"]](plugin, task)
    print("ok")  # noqa: T201 - its result


if __name__ == "__main__":
    main()
