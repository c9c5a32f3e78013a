"""A Slack channel that hears how jobs end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec.structs import replace

from libs.egress.policy import EgressPolicy
from proto.notifier import NotifyLevel
from services.notifier.channels import slack
from services.notifier.channels.posting import Poster
from tests.domain.test_notifier import COMPLETED, GONE
from tests.support.certificates import certificate
from tests.support.receiver import receiving
from tests.support.sure import sure
from tests.support.system import running

ADDRESS = "https://hooks.slack.com/services/T000/B000/very-secret"
BROKEN = replace(GONE, failure=replace(GONE.failure, kind="permanent"))


@pytest.mark.parametrize(
    ("level", "told"),
    [("all", (True, True, True)), ("errors_only", (False, False, True)), ("warnings_only", (False, True, False))],
)
def test_each_level_hears_its_ends(level: NotifyLevel, told: tuple[bool, ...]):
    assert tuple(slack.body(event, level) is not None for event in (COMPLETED, GONE, BROKEN)) == told


def test_a_title_can_not_call_everybody_in_the_channel():
    said = json.loads(sure(slack.body(replace(COMPLETED, title="<!channel> & more"), "all")))

    assert said == {"text": "Completed: &lt;!channel&gt; &amp; more"}


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/services/T/B/x",
        "http://hooks.slack.com/services/T/B/x",
        "https://hooks.slack.com/services/",
        "https://hooks.slack.com/services/../admin",
        "https://hooks.slack.com.example.org/services/T/B/x",
        "https://hooks.slack.com@example.org/services/T/B/x",
        "",
    ],
)
async def test_only_an_address_of_slacks_is_taken(user, address: str):
    async with user.http() as http:
        status, answer = await http.jobs("POST", "/user/slack", {"webhook_url": address})

    assert (status, answer) == (400, {"error": "webhook_url must be below https://hooks.slack.com/services/"})


async def test_a_channel_is_kept_masked_and_is_gone_when_it_is_removed(user):
    async with user.http() as http:
        before = await http.jobs("GET", "/user/slack")
        kept = await http.jobs("POST", "/user/slack", {"webhook_url": ADDRESS, "notify_level": "errors_only"})
        _, shown = await http.jobs("GET", "/user/slack")
        removed = await http.jobs("DELETE", "/user/slack")
        again = await http.jobs("DELETE", "/user/slack")
        after = await http.jobs("GET", "/user/slack")

    assert before == after == (200, {"configured": False})
    assert kept == (
        200,
        {"message": "Slack notifications configured successfully", "notify_level": "errors_only"},
    )
    assert (shown["webhook_url_masked"], shown["notify_level"]) == (
        "https://hooks.slack.com/services/****cret",
        "errors_only",
    )
    assert removed == (200, {"message": "Slack notifications removed successfully"})
    assert again[0] == 404


async def test_the_channel_hears_of_a_completed_job_and_a_warning_and_its_address_is_nowhere_in_the_clear(
    tmp_path: Path, data: Path, site, monkeypatch: pytest.MonkeyPatch
):
    tls, trusted = certificate(tmp_path, "hooks.slack.com")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    name = f"{uuid4().hex}.bin"
    async with receiving(404, tls=tls) as receiver:
        port = receiver.url.rpartition(":")[2]
        allow = f"{site.egress_allow},127.0.0.0/8,hooks.slack.com=127.0.0.1:{port}"
        with running(data, allow) as system:
            async with (await asyncio.to_thread(system.user)).http() as http:
                refused = await http.jobs("POST", "/user/slack", {"webhook_url": ADDRESS})
                unset = await http.jobs("GET", "/user/slack")
                await http.jobs("POST", "/user/slack", {"webhook_url": ADDRESS})
                job = await http.ended(await http.submit(site.file(1000, name)))
                await http.ended(await http.submit(site.url("/status/404")))
                posts = await receiver.until(4)
            told = system.log()
    said = posts[2:]
    texts = {json.loads(post.body)["text"] for post in said}

    assert {post.path for post in posts} == {"/services/T000/B000/very-secret"}
    assert [post.body for post in posts[:2]] == [b"{}"] * 2
    assert refused == (400, {"error": "Verification failed: Slack takes no messages at this webhook_url"})
    assert unset == (200, {"configured": False})
    assert f"Completed: {name}" in texts
    assert any(text.startswith(f"Warning: {site.url('/status/404')}: ") for text in texts)
    assert "webhook_status" not in job
    assert "very-secret" not in told


@pytest.mark.parametrize("status", [403, 404, 410, 400, 500])
async def test_an_address_is_kept_unless_slack_says_that_it_takes_nothing_there(status: int):
    """400 is what Slack answers to a message without a text; of a Slack that is in trouble nothing follows."""
    async with receiving(status) as receiver, Poster(EgressPolicy.parse("127.0.0.0/8")) as poster:
        assert await slack.unknown(poster, f"{receiver.url}/services/T000/B000/x") == (status in {403, 404, 410})

    assert [post.body for post in receiver.posts] == [b"{}"]


async def test_slack_that_can_not_be_asked_says_nothing_of_an_address():
    async with Poster(EgressPolicy.parse("hooks.slack.com=127.0.0.1:9")) as poster:
        assert not await slack.unknown(poster, ADDRESS)
