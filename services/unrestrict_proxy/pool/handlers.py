"""One function per command or query about host accounts."""

from __future__ import annotations

from datetime import UTC, datetime

from libs.calls import Answer, Call
from libs.egress.links import BadLink, check_link
from libs.egress.policy import EgressPolicy
from libs.eventstore import AnyVersion, EventStore, NoStream, Transaction, Write, WrongVersion
from libs.message import Position, Refused
from libs.sealing import CannotOpen, Sealer
from proto.unrestrict_proxy import (
    AccountNotFound,
    AddHostAccount,
    BadHostAccount,
    CheckHostAccount,
    HostAccount,
    HostAccountAdded,
    HostAccountRemoved,
    HostAccountRenewed,
    KeptHostAccount,
    ListHostAccounts,
    ListHosts,
    RemoveHostAccount,
    UnknownPlatform,
)
from services.unrestrict_proxy import domain, views
from services.unrestrict_proxy.adapters.contract import Adapter
from services.unrestrict_proxy.pool import standing
from services.unrestrict_proxy.pool import views as pool_views
from services.unrestrict_proxy.pool.pool import Pool
from services.unrestrict_proxy.pool.serving import allowed
from services.unrestrict_proxy.pool.views import Account


async def add_account(
    command: AddHostAccount, call: Call, store: EventStore, sealer: Sealer, host_pool: Pool, policy: EgressPolicy
) -> Answer:
    """The same command again is answered as the first time. Another one for an account that is there already replaces
    its secret, and what else it gives: two of one login would have twice the slots that its platform allows."""
    adapter = host_pool.platforms.adapter(command.platform)
    if adapter is None:
        known = ", ".join(host_pool.platforms.names())
        message = f"no platform is called {command.platform}; there are {known}"
        raise Refused(UnknownPlatform(message=message, platform=command.platform))
    domains = _domains(command, adapter)
    if command.base_url is not None:
        try:
            check_link(command.base_url, policy)
        except BadLink as bad:
            raise Refused(BadHostAccount(message=f"base_url: {bad}", field="base_url")) from bad
    at = datetime.now(UTC)
    event = HostAccountAdded(account_id=command.account_id, platform=command.platform, username=command.username, at=at)
    write = Write(stream_id=command.account_id, kind="account", expected=NoStream(), events=[event], meta=call.meta)
    try:
        async with store.transaction() as tx:
            await pool_views.take_turn(tx.conn, f"add {command.platform}")
            there = await pool_views.accounts(tx.conn, at)
            same = next((one for one in there if _same(one, command, domains, adapter, sealer)), None)
            if same is None:
                places = await tx.append([write])
                sealed = sealer.seal(command.secret.encode(), str(command.account_id))
                await views.add_account(tx.conn, command, domains, sealed, at)
            elif same.account_id != command.account_id:
                places = await _renewed(tx, same, command, domains, sealer, call, at)
            else:
                places = []
    except WrongVersion:
        return Answer(KeptHostAccount(account_id=command.account_id, replaced=False))
    host_pool.look()
    kept = KeptHostAccount(
        account_id=command.account_id if same is None else same.account_id,
        replaced=same is not None and same.account_id != command.account_id,
    )
    return Answer(kept, places[-1] if places else None)


def _same(one: Account, command: AddHostAccount, domains: list[str], adapter: Adapter, sealer: Sealer) -> bool:
    """Logins of generic hosts are each host's own. Who has no name is known by the secret alone."""
    if one.account_id == command.account_id:
        return True
    if (one.platform, one.username, one.base_url) != (command.platform, command.username, command.base_url):
        return False
    generic = not adapter.domains and not adapter.caps.multihost
    if generic and not set(domains) & set(one.domains):
        return False
    if command.username:
        return True
    try:
        return sealer.open(one.sealed_secret, str(one.account_id)) == command.secret.encode()
    except CannotOpen:
        return False


async def _renewed(
    tx: Transaction,
    one: Account,
    command: AddHostAccount,
    domains: list[str],
    sealer: Sealer,
    call: Call,
    at: datetime,
) -> list[Position]:
    await pool_views.take_turn(tx.conn, str(one.account_id))
    event = HostAccountRenewed(account_id=one.account_id, platform=one.platform, at=at)
    write = Write(stream_id=one.account_id, kind="account", expected=AnyVersion(), events=[event], meta=call.meta)
    places = await tx.append([write])
    sealed = sealer.seal(command.secret.encode(), str(one.account_id))
    await views.renew_account(tx.conn, one.account_id, command, domains, sealed)
    known = await pool_views.standing(tx.conn, one.account_id)
    if known is not None:
        await pool_views.save_standing(tx.conn, standing.renewed(known))
    return places


def _domains(command: AddHostAccount, adapter: Adapter) -> list[str]:
    found = [domain.host_name(one) for one in command.domains]
    names = [name.removeprefix("www.") for name in found if name is not None and "." in name]
    if len(names) != len(found):
        raise _bad_domains("these are names of hosts, such as files.example.org")
    if names and adapter.domains:
        raise _bad_domains(f"{adapter.name} has links of its own hosts alone; leave them out")
    if not names and not adapter.domains and not adapter.caps.multihost:
        raise _bad_domains(f"{adapter.name} needs the hosts that it is for")
    return list(dict.fromkeys(names))


def _bad_domains(message: str) -> Refused:
    return Refused(BadHostAccount(message=f"domains: {message}", field="domains"))


async def remove_account(command: RemoveHostAccount, call: Call, store: EventStore, host_pool: Pool) -> Answer:
    """Leases of it end, and its session and links are forgotten."""
    account = await host_pool.account(command.account_id)
    if account is None:
        raise Refused(AccountNotFound(message="no such account", account_id=command.account_id))
    event = HostAccountRemoved(account_id=account.account_id, platform=account.platform, at=datetime.now(UTC))
    write = Write(stream_id=account.account_id, kind="account", expected=AnyVersion(), events=[event], meta=call.meta)
    async with store.transaction() as tx:
        places = await tx.append([write])
        await views.remove_account(tx.conn, account.account_id)
    return Answer(position=places[-1])


async def check_account(command: CheckHostAccount, host_pool: Pool) -> Answer:
    account = await host_pool.read(command.account_id)
    if account is None:
        raise Refused(AccountNotFound(message="no such account", account_id=command.account_id))
    return Answer(_shown(account, host_pool.platforms.adapter(account.platform), datetime.now(UTC)))


async def list_accounts(query: ListHostAccounts, host_pool: Pool) -> Answer:
    del query  # it has no fields
    now = datetime.now(UTC)
    accounts = await host_pool.accounts()
    return Answer([_shown(one, host_pool.platforms.adapter(one.platform), now) for one in accounts])


async def list_hosts(query: ListHosts, host_pool: Pool) -> Answer:
    del query  # it has no fields
    return Answer(await host_pool.hosts())


def _shown(account: Account, adapter: Adapter | None, now: datetime) -> HostAccount:
    known = account.standing
    summary, until, reason = known.summary(now)
    state = known.state
    return HostAccount(
        account_id=account.account_id,
        platform=account.platform,
        username=account.username,
        domains=account.domains,
        base_url=account.base_url,
        standing=summary,
        until=until,
        reason=reason,
        premium_until=None if state is None else state.premium_until,
        traffic_left=None if state is None else state.traffic_left,
        traffic_total=None if state is None else state.traffic_total,
        slots=0 if adapter is None else allowed(account, adapter).slots,
        leases=account.leases,
        read_at=known.read_at,
        added_at=account.added_at,
    )


HANDLERS = (add_account, remove_account, check_account, list_accounts, list_hosts)
