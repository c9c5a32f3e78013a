"""What the external dialect says beside its JSON: the page that documents it, and nothing to other origins."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import msgspec

from services.gateway.dialects.external import routes as external
from services.gateway.dialects.external import translate, wire
from tests.support.sure import sure

PAGE = (Path(external.__file__).parent / "docs.html").read_text()
BASE = "/api/external/v1"


async def test_the_documentation_is_public_and_may_run_nothing(user):
    async with user.http() as http, http.session.get(f"{http.url}{BASE}/docs") as got:
        status, headers, body = got.status, got.headers, await got.text()
    style = sure(re.search(r"<style>(.*?)</style>", body, re.DOTALL))[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    assert (status, body) == (200, PAGE)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Security-Policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert not re.search(r"<script|<img|<link|\son\w+=|style=|https?://(?!rapidgator)", body)


async def test_nothing_is_for_pages_of_other_origins(user):
    key = {"Authorization": f"Bearer {user.keys['external']}", "Origin": "https://evil.example"}
    async with user.http() as http:
        for method in ("GET", "OPTIONS"):
            async with http.session.request(method, f"{http.url}{BASE}/account", headers=key) as got:
                assert not [name for name in got.headers if name.lower().startswith("access-control")]


def test_the_documentation_has_every_number_with_its_status():
    rows = dict(re.findall(r"<tr><td>(\d+)</td><td>([\d, ]+)</td>", PAGE))

    assert {int(number): int(status.split(",")[0]) for number, status in rows.items()} == translate.HTTP_STATUS


def test_the_documentation_has_every_field_in_both_languages():
    structs = (wire.Account, wire.Host, wire.GroupedHost, wire.Hosts, wire.Link, wire.Unrestrict, wire.Problem)
    fields = {field.encode_name for one in structs for field in msgspec.structs.fields(one)}
    rows = re.findall(r"<tr><td>.*?</tr>", PAGE)

    assert [field for field in sorted(fields) if not re.search(rf"\b{field}\b", PAGE)] == []
    assert [row for row in rows if 'lang="zh-Hant"' not in row] == []
