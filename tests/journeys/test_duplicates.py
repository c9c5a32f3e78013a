"""A link that is sent again while its job is under way."""

from __future__ import annotations

import asyncio
from uuid import uuid4


async def test_a_double_click_in_the_extension_is_one_job_and_the_site_is_asked_once(user, other, site):
    gate = uuid4().hex
    link = site.file(100_000, f"{gate}.bin", gate=gate, gate_at=1000)
    async with user.http() as http, other.http() as theirs:
        answers = await asyncio.gather(*(http.gdluxx("POST", "/external", {"urls": [link, link]}) for _ in range(5)))
        ids = {one["jobId"] for _, answer in answers for one in answer["data"]["results"]}
        _, shown = await http.gdluxx("GET", f"/jobs?ids={','.join(ids)}")
        _, foreign = await theirs.gdluxx("POST", "/external", {"urls": [link]})
        mine = await http.submit(link)
        await site.release(gate)
        ended = [await http.ended(one) for one in (*ids, mine)]
        _, again = await http.gdluxx("POST", "/external", {"urls": [link]})

    assert len(ids) == len(shown["data"]["jobs"]) == 1
    assert {foreign["data"]["results"][0]["jobId"], again["data"]["results"][0]["jobId"], mine}.isdisjoint(ids)
    assert [job["status"] for job in ended] == ["Completed"] * 2
