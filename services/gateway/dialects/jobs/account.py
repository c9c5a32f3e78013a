"""Their calls about the user: what was used, how it goes, and the secret of the webhooks."""

from __future__ import annotations

from datetime import UTC, date, datetime

from litestar import Response

from libs.message import Refused
from proto.auth import KeyHolder
from proto.job import ReadUsage, Usage
from proto.notifier import (
    ConfigureSlack,
    ReadSlack,
    ReadWebhookSecret,
    RemoveSlack,
    RotateWebhookSecret,
    SlackInfo,
    SlackNotFound,
)
from services.gateway.dialects import AnyRequest, reply
from services.gateway.dialects.jobs import answers, shown, translate, wire
from services.gateway.dialects.jobs.desk import Desk, Table, actor

EVER = date(1970, 1, 1)


async def usage(desk: Desk, _: AnyRequest, key: KeyHolder) -> Response[bytes]:
    days, taken = await desk.ask.jobs.days(key.owner, EVER), await desk.ask.other(ReadUsage(owner=key.owner), Usage)
    return reply(answers.usage(key.key_name or key.username, days, taken, _today()))


async def stats(desk: Desk, _: AnyRequest, key: KeyHolder) -> Response[bytes]:
    return reply(answers.stats(await desk.ask.jobs.counted(key.owner), await desk.ask.jobs.days(key.owner, EVER)))


async def jobs(desk: Desk, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    limit, offset, states = translate.listing(
        request.query_params.get("limit", "50"),
        request.query_params.get("offset"),
        request.query_params.get("status"),
        style=key.status_style,
    )
    views, total = await desk.ask.jobs.page(key.owner, states, limit, offset)
    return reply(shown.DashboardJobs(jobs=[answers.row(view, key.status_style) for view in views], total=total))


async def batches(desk: Desk, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    limit, _, _ = translate.listing(request.query_params.get("limit", "50"), None, None, style=key.status_style)
    views = await desk.ask.jobs.batches(key.owner, limit)
    return reply(shown.DashboardBatches(batches=[answers.batch(view) for view in views]))


async def daily(desk: Desk, _: AnyRequest, key: KeyHolder) -> Response[bytes]:
    days = await desk.ask.jobs.days(key.owner, EVER)
    return reply(shown.Daily(daily_stats=answers.daily(days, _today())))


async def cluster(desk: Desk, _: AnyRequest, key: KeyHolder) -> Response[bytes]:
    return reply(answers.cluster(await desk.ask.jobs.counted(key.owner)))


async def billing(_: Desk, __: AnyRequest, ___: KeyHolder) -> Response[bytes]:
    return reply(shown.Billing(billing_enabled=False))


async def secret(desk: Desk, _: AnyRequest, key: KeyHolder) -> Response[bytes]:
    known = await desk.ask.other(ReadWebhookSecret(owner=key.owner), str)
    return reply(shown.Secret(webhook_signing_secret=known))


async def rotate(desk: Desk, _: AnyRequest, key: KeyHolder) -> Response[bytes]:
    fresh = await desk.ask.other(RotateWebhookSecret(owner=key.owner), str, actor=actor(key))
    return reply(shown.Secret(webhook_signing_secret=fresh))


async def configure_slack(desk: Desk, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    given = translate.decode(await request.body(), wire.Slack)
    command = ConfigureSlack(owner=key.owner, webhook_url=given.webhook_url, level=given.notify_level)
    info = await desk.ask.other(command, SlackInfo, actor=actor(key))
    return reply(shown.SlackKept(message="Slack notifications configured successfully", notify_level=info.level))


async def show_slack(desk: Desk, _: AnyRequest, key: KeyHolder) -> Response[bytes]:
    try:
        return reply(answers.slack(await desk.ask.other(ReadSlack(owner=key.owner), SlackInfo)))
    except Refused as refused:
        if isinstance(refused.refusal, SlackNotFound):
            return reply(shown.NoSlack())
        raise


async def remove_slack(desk: Desk, _: AnyRequest, key: KeyHolder) -> Response[bytes]:
    await desk.ask.other(RemoveSlack(owner=key.owner), type(None), actor=actor(key))
    return reply(shown.Message(message="Slack notifications removed successfully"))


def _today() -> date:
    return datetime.now(UTC).date()


TABLE: Table = (
    ("GET", "/usage", usage),
    ("GET", "/dashboard/stats", stats),
    ("GET", "/dashboard/jobs", jobs),
    ("GET", "/dashboard/batches", batches),
    ("GET", "/dashboard/daily", daily),
    ("GET", "/dashboard/cluster", cluster),
    ("GET", "/dashboard/billing", billing),
    ("GET", "/user/webhook-secret", secret),
    ("POST", "/user/webhook-secret/rotate", rotate),
    ("POST", "/user/slack", configure_slack),
    ("GET", "/user/slack", show_slack),
    ("DELETE", "/user/slack", remove_slack),
)
