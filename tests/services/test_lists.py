"""Pages of the list of jobs."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("status", [None, "failed", "pending", "warning"])
async def test_pages_of_any_size_from_either_end_join_up_to_the_whole_list(user, other, site, status: str | None):
    query = "" if status is None else f"&status={status}"
    async with user.http() as http, other.http() as stranger:
        links = [{"url": site.file(1000, f"{number}.bin")} for number in range(9)]
        _, made = await http.jobs("POST", "/jobs/bulk", {"jobs": links, "paused": True})
        await stranger.jobs("POST", "/jobs/bulk", {"jobs": links, "paused": True})
        for job_id in made["job_ids"][1::2]:
            await http.jobs("DELETE", f"/jobs/{job_id}")
        _, whole = await http.jobs("GET", f"/jobs?limit=100{query}")
        pages: dict[int, list[str]] = {}
        for limit in (1, 2, 4):
            pages[limit] = []
            for offset in range(0, 12, limit):
                _, page = await http.jobs("GET", f"/jobs?limit={limit}&offset={offset}{query}")
                assert page["total"] == whole["total"]
                pages[limit] += [job["id"] for job in page["jobs"]]

    newest = made["job_ids"][::-1]
    cancelled = made["job_ids"][1::2]
    wanted = {
        None: newest,
        "failed": [one for one in newest if one in cancelled],
        "pending": [one for one in newest if one not in cancelled],
        "warning": [],
    }[status]
    assert [job["id"] for job in whole["jobs"]] == wanted
    assert whole["total"] == len(wanted)
    assert pages == dict.fromkeys(pages, wanted)


@pytest.mark.parametrize("path", ["/jobs", "/dashboard/jobs"])
async def test_a_number_of_any_length_is_the_longest_page_or_one_beyond_the_end(user, site, path: str):
    async with user.http() as http:
        links = [{"url": site.file(1000, f"{number}.bin")} for number in range(100)]
        await http.jobs("POST", "/jobs/bulk", {"jobs": links, "paused": True})
        pages = {digits: await http.jobs("GET", f"{path}?limit={'9' * digits}") for digits in (9, 10, 18, 20, 5000)}
        beyond = {digits: await http.jobs("GET", f"{path}?offset={'9' * digits}") for digits in (9, 10, 18, 20, 5000)}

    assert {digits: (status, len(page["jobs"])) for digits, (status, page) in pages.items()} == dict.fromkeys(
        pages, (200, 100)
    )
    assert {digits: (status, page["jobs"], page["total"]) for digits, (status, page) in beyond.items()} == (
        dict.fromkeys(beyond, (200, [], 100))
    )
