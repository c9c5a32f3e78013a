"""What a browser sees at the address of the jobs, to which the browser extension's notices lead."""

from __future__ import annotations

from litestar import Response

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Vary": "Accept, Authorization, X-Api-Key",
}
_PAGE = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Longshore</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:4em auto}code{background:#8883}</style>
<h1>Longshore runs here</h1>
<p>What was sent is being fetched. This address is for programs, which show a key; how they ask is described in
<code>/api/jobs/openapi.json</code>. Jobs are listed by <code>longshore jobs</code>, and by whichever web interface is
connected to this installation.
"""


def page() -> Response[bytes]:
    return Response(_PAGE, media_type="text/html", headers=_HEADERS)


def asked_for(method: str, path: str, accept: str) -> bool:
    """Whether somebody without a key is a person, who looks at the list of jobs."""
    return method == "GET" and path.rstrip("/") in ("/jobs", "/api/jobs/jobs") and "text/html" in accept.lower()
