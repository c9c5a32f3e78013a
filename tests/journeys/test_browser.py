"""What pages of other origins may do, in real Chromium."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

from tests.support.browser import REFUSED, Call, called_from_a_page

JSON = {"Content-Type": "application/json"}


def gdluxx(user, method: str, path: str, body: object = None, key: str | None = None) -> Call:
    headers = {**JSON, "Authorization": f"Bearer {key or user.keys['gdluxx']}"}
    return f"{user.system.url}/api/extension{path}", method, headers, None if body is None else json.dumps(body)


async def test_a_page_of_any_origin_calls_the_gdluxx_api_and_reads_its_refusals_too(user, site, tmp_path: Path):
    link = site.file(1000, f"{uuid4().hex}.bin")
    cookie = {"name": "a", "value": "b", "domain": "example.com", "secure": True, "httpOnly": True}
    answers = await called_from_a_page(
        [
            gdluxx(user, "POST", "/ping", {"extensionVersion": "1.10.0"}),
            gdluxx(user, "POST", "/external", {"urls": [link]}),
            gdluxx(user, "PUT", "/cookies", {"domain": "example.com", "cookies": [cookie]}),
            gdluxx(user, "DELETE", "/cookies"),
            gdluxx(user, "GET", "/profiles"),
            gdluxx(user, "GET", "/jobs"),
            gdluxx(user, "POST", "/external", {"urls": [link] * 201}),
            gdluxx(user, "GET", "/subs", key="sk_nobodys_key"),
            gdluxx(user, "PUT", "/cookies", "x" * 3_100_000),
        ],
        tmp_path,
    )

    assert [answer and answer[0] for answer in answers] == [200, 200, 200, 200, 200, 400, 400, 401, 413]
    assert answers[1][1]["data"]["results"][0]["url"] == link
    assert answers[6][1]["error"] == "Too many URLs. Max allowed is 200."
    assert answers[7][1]["error"] == "Invalid API key"


async def test_a_page_can_not_use_the_jobs_api_even_with_a_key(user, site, tmp_path: Path):
    key = {"x-api-key": user.keys["jobs"]}
    body = json.dumps({"url": site.file(1000, f"{uuid4().hex}.bin")})
    answers = await called_from_a_page(
        [
            (f"{user.system.url}{root}{path}", method, headers, body if method == "POST" else None)
            for root in ("", "/api/jobs")
            for method, path, headers in (
                ("POST", "/jobs", {**key, **JSON}),
                ("GET", "/jobs", key),
                ("DELETE", f"/jobs/{uuid4()}", {"Authorization": f"Bearer {user.keys['jobs']}"}),
                ("POST", "/jobs", {}),
                ("GET", "/usage", {}),
            )
        ],
        tmp_path,
    )
    async with user.http() as http:
        _, listed = await http.jobs("GET", "/jobs")

    assert answers == [REFUSED] * 10
    assert listed["total"] == 0


async def test_a_page_may_reach_a_server_in_the_private_network_where_the_browser_asks_for_that(user):
    """Chromium asked so until it had a permission for it; other browsers and older ones ask."""
    asked = {
        "Origin": "https://gallery.example", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Private-Network": "true",
    }  # fmt: skip
    async with user.http() as http:
        async with http.session.options(f"{http.url}/api/extension/external", headers=asked) as allowed:
            pass
        async with http.session.options(f"{http.url}/jobs", headers=asked) as refused:
            pass

    assert allowed.headers["Access-Control-Allow-Private-Network"] == "true"
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://gallery.example"
    assert not [name for name in refused.headers if name.lower().startswith("access-control-")]
