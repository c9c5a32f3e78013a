"""The browser extension's side of the gdluxx API, written from its documents alone.

It is run as a program, `python gdluxx.py` with its task as JSON on stdin, and imports nothing of the server. What the
documents promise is asserted as it goes along; the last line that it prints is `ok`.
"""

from __future__ import annotations

import json
import re
import sys
import time
from typing import Any

import requests

PATIENCE = 60.0
ORIGIN = "moz-extension://6f2b3c1e-0000-4000-8000-5d7c9a3e1f20"
IDS_MOST = 100


class Extension:
    def __init__(self, server: str, key: str, interval: float) -> None:
        self.server = server.removesuffix("/")
        self.interval = interval
        self.headers = {"Authorization": f"Bearer {key}", "Origin": ORIGIN}
        self.most = 10_000
        """Links in one call, until the server says what it takes."""

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """(status, body). A redirect, an absent endpoint, and a success that does not say so are a server that can not
        be used; an answer that the page may not read is none."""
        answer = requests.request(
            method, f"{self.server}/api/extension{path}", json=body, timeout=60, allow_redirects=False,
            headers=self.headers if headers is None else {"Origin": ORIGIN, **headers},
        )  # fmt: skip
        told = answer.json()
        assert answer.headers["Access-Control-Allow-Origin"] in (ORIGIN, "*"), answer.headers
        assert answer.status_code not in (301, 302, 307, 308, 404), f"{path} counts as absent"
        assert told["success"] is (answer.status_code == 200), told
        return answer.status_code, told["data"] if told["success"] else told["error"]

    def good(self, method: str, path: str, body: Any = None) -> Any:
        status, data = self.ask(method, path, body)
        assert status == 200, (status, data)
        return data

    def send(self, links: list[str]) -> dict[str, str]:
        """The job of each link. A refusal that names the most links teaches it, and what is left is cut anew."""
        found: dict[str, str] = {}
        waiting = list(links)
        while waiting:
            status, answer = self.ask("POST", "/external", {"urls": waiting[: self.most]})
            if status == 400 and (said := re.search(r"Max allowed is (\d+)", answer)):
                self.most = int(said[1])
                continue
            assert status == 200, answer
            # Results are found by their link, so they must be the links that were sent, to the letter.
            assert [one["url"] for one in answer["results"]] == waiting[: self.most], answer
            assert answer["overallSuccess"] is all(one["success"] for one in answer["results"]), answer
            found.update({one["url"]: one["jobId"] for one in answer["results"] if one["success"]})
            waiting = waiting[self.most :]
        return found

    def follow(self, ids: list[str]) -> dict[str, dict[str, Any]]:
        """What became of the jobs. One that the server does not name is given up as unknown."""
        ended: dict[str, dict[str, Any]] = {}
        until = time.monotonic() + PATIENCE
        while waiting := [one for one in ids if one not in ended]:
            named = {
                job["id"]: job
                for start in range(0, len(waiting), IDS_MOST)
                for job in self.good("GET", f"/jobs?ids={','.join(waiting[start : start + IDS_MOST])}")["jobs"]
            }
            assert named.keys() == set(waiting), "an accepted job is unknown to the server"
            ended.update({one: job for one, job in named.items() if job["status"] != "running"})
            assert time.monotonic() < until, f"still running: {len(waiting)}"
            time.sleep(self.interval)
        return ended


def connection(extension: Extension) -> None:
    told = extension.good("POST", "/ping", {"extensionVersion": "1.10.0"})
    assert (told["message"], told["protocolVersion"]) == ("Connection successful!", 1), told
    assert {"cookies.sync", "jobs.polling", "external.fallbackUrls"} <= set(told["capabilities"]), told
    assert extension.good("POST", "/ping")["maxBatchUrls"] == told["maxBatchUrls"]


def refusals(extension: Extension) -> None:
    bearer = {"Authorization": extension.headers["Authorization"]}
    cases: list[tuple[dict[str, str], Any, int, str]] = [
        ({}, None, 401, "Authorization header with Bearer token is required"),
        ({"Authorization": "Bearer "}, None, 400, "Bearer token cannot be empty"),
        ({"Authorization": "Bearer sk_nobodys_key"}, {"urls": []}, 401, "Invalid API key"),
        (bearer, {"urlToProcess": "ftp://example.com"}, 400, "Invalid URL format. Must be HTTP or HTTPS"),
        (bearer, {}, 400, "Missing required field: urlToProcess or urls"),
        (bearer, [], 400, "Invalid request body. Expected a JSON object."),
    ]
    for headers, body, status, text in cases:
        assert extension.ask("POST", "/external", body, headers) == (status, text), (headers, body)
    assert extension.ask("GET", "/jobs?ids=")[0] == 400


def jobs(extension: Extension, links: list[str], gone: str, gallery: str) -> None:
    single = extension.good("POST", "/external", {"urlToProcess": gallery, "customDirectory": "My comics"})
    assert single["results"][0]["message"] == "Job started successfully", single
    sent = extension.send([*links, gone])
    assert extension.most < len(links), "the server took more links than it said"
    assert len(sent) == len(links) + 1
    sent[gallery] = single["results"][0]["jobId"]
    ended = extension.follow(list(sent.values()))
    states = {link: ended[job_id] for link, job_id in sent.items()}
    assert {states[link]["status"] for link in links} == {"success"}, states
    assert {states[link]["downloadCount"] for link in links} == {1}
    assert (states[gone]["status"], states[gone]["exitCode"] != 0) == ("error", True), states[gone]
    assert states[gallery]["status"] == "success", states[gallery]
    assert states[gallery]["downloadCount"] > 1, states[gallery]
    assert all(job["startTime"] <= job["endTime"] <= time.time() * 1000 + 1000 for job in ended.values())
    unknown = "00000000-0000-4000-8000-000000000000"
    assert extension.good("GET", f"/jobs?ids={unknown},nonsense") == {"jobs": []}


def fallback(extension: Extension, link: str, page: str) -> None:
    """A page that nobody can read gives way to the media that the extension saw on it, under the same id."""
    body = {"urls": [page], "fallbackUrls": [link, link, "nonsense"]}
    sent = extension.good("POST", "/external", body)["results"][0]["jobId"]
    assert extension.follow([sent])[sent]["status"] == "success"


def cookies(extension: Extension) -> None:
    assert extension.good("GET", "/cookies")["hasBackup"] is False
    cookie = {"name": "sid", "value": "very-secret", "domain": ".example.com", "secure": True, "httpOnly": True}
    for count in (1, 2):
        told = extension.good("PUT", "/cookies", {"domain": "example.com", "cookies": [cookie] * count})
    assert "very-secret" not in json.dumps(told), "values must never come back"
    assert (told["hasBackup"], told["domainCount"]) == (True, 1), told
    assert told["domains"][0]["domain"] == "example.com", told
    assert extension.good("DELETE", "/cookies?domain=example.com") == {"deleted": True}
    assert extension.good("DELETE", "/cookies?domain=example.com") == {"deleted": False}
    wrong = {"domain": "example.com", "cookies": [{**cookie, "secure": "yes"}]}
    assert extension.ask("PUT", "/cookies", wrong)[0] == 400


def backups(extension: Extension) -> None:
    profile = {
        "id": "p1", "scope": "host", "host": "example.com", "startSelector": "img", "endSelector": "",
        "createdAt": 1, "updatedAt": 2, "ofALaterVersion": {"kept": [True, None]},
    }  # fmt: skip
    bundle = {"version": 1, "profiles": {"p1": profile}}
    for kind in ("profiles", "subs", "extraction"):
        empty = extension.good("GET", f"/{kind}")
        assert (empty["hasBackup"], empty["bundle"]) == (False, {"version": 1, "profiles": {}}), empty
        extension.good("PUT", f"/{kind}", {"bundle": bundle, "syncedBy": "laptop"})
        kept = extension.good("GET", f"/{kind}")
        assert (kept["bundle"], kept["profileCount"], kept["syncedBy"]) == (bundle, 1, "laptop"), kept
        assert extension.good("DELETE", f"/{kind}") == {"deleted": True}
        assert extension.good("GET", f"/{kind}")["hasBackup"] is False


def main() -> None:
    task = json.load(sys.stdin)
    extension = Extension(task["base"], task["key"], task["interval"])
    connection(extension)
    refusals(extension)
    jobs(extension, task["links"], task["gone"], task["gallery"])
    fallback(extension, task["link"], task["page"])
    cookies(extension)
    backups(extension)
    print("ok")  # noqa: T201 - its result


if __name__ == "__main__":
    main()
