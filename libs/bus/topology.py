"""Streams, durable consumers and users of the bus as data: who may say what, and who may hear it.

Configurations are in the words of the JetStream API. Events are read by ephemeral consumers that begin at the
reader's own mark, so no event stream has a durable one; tickets have one per queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

SECOND = 1_000_000_000
"""Durations are nanoseconds on the wire."""


class StreamSpec(Struct, frozen=True, kw_only=True):
    name: str
    config: Mapping[str, object]


class ConsumerSpec(Struct, frozen=True, kw_only=True):
    stream: str
    name: str
    config: Mapping[str, object]


class UserSpec(Struct, frozen=True, kw_only=True):
    """What one nkey may do. Everything that is not named is refused.

    Each user hears its own inbox only; it may answer whatever reached it, once, without naming the asker's inbox.
    """

    name: str
    publish: tuple[str, ...]
    never: tuple[str, ...] = ()
    """Subjects that a wildcard in `publish` would allow and that are refused all the same."""
    hear: tuple[str, ...] = ()

    @property
    def subscribe(self) -> tuple[str, ...]:
        return (f"{self.inbox}.>", *self.hear)

    @property
    def inbox(self) -> str:
        """Prefix of the reply subjects; without a prefix of its own each user could read every reply."""
        return f"_INBOX_{self.name}"


SERVICES = ("gateway", "auth", "job", "scheduler", "unrestrict_proxy", "storage", "notifier")


def event_stream(service: str) -> str:
    return f"EV_{service.upper()}"


# ---- streams and consumers ------------------------------------------------------------------------------------


def _events(service: str) -> StreamSpec:
    """One writer, kept for ever: resume tokens and rebuilt read models begin at any sequence."""
    return StreamSpec(
        name=event_stream(service),
        config={
            "subjects": [f"ev.{service}.>"],
            "retention": "limits",
            "storage": "file",
            "discard": "old",
            "allow_atomic": True,
            "allow_direct": True,
            "deny_delete": True,
            "num_replicas": 1,
            "duplicate_window": 120 * SECOND,
        },
    )


STREAMS: tuple[StreamSpec, ...] = (
    *(_events(service) for service in SERVICES),
    StreamSpec(
        name="WORK",
        config={
            "subjects": ["work.run.*.*"],
            "retention": "workqueue",
            "storage": "file",
            # A full queue is the dispatcher's news, not the oldest ticket's loss.
            "discard": "new",
            "max_msgs": 100_000,
            "num_replicas": 1,
            "duplicate_window": 120 * SECOND,
        },
    ),
)

QUEUES = ("download",)

CONSUMERS: tuple[ConsumerSpec, ...] = tuple(
    ConsumerSpec(
        stream="WORK",
        name=queue,
        config={
            # Only what is to run: acknowledging a schedule would cancel it.
            "filter_subject": f"work.run.{queue}.*",
            "ack_policy": "explicit",
            "deliver_policy": "all",
            "ack_wait": 30 * SECOND,
            "max_ack_pending": 1_000,
            "num_replicas": 1,
            # Counts crashes: whether a failed job is tried again is the job's decision, not the queue's.
            "max_deliver": 20,
        },
    )
    for queue in QUEUES
)

# ---- users ----------------------------------------------------------------------------------------------------

REPORTS = (
    "claim",
    "reserve",
    "report_stage",
    "report_item",
    "report_completed",
    "report_failed",
    "report_interrupted",
    "report_progress",
    "heartbeat",
)
"""Commands of a worker about the attempt it holds; nobody else may speak for an attempt."""
NO_ATTEMPTS = (*(f"cmd.job.{verb}" for verb in REPORTS), "cmd.job.lose_worker")

PUT_ASIDE = tuple(f"cmd.{service}.{verb}" for service in SERVICES for verb in ("redrive", "drop_dead_letter"))
"""What becomes of events that could not be applied is the operator's decision."""

OPENED = "q.unrestrict_proxy.cookies"
"""Cookies with their values: for the worker that needs them, and for nobody who asks on behalf of people."""


LEASES = tuple(f"cmd.unrestrict_proxy.{verb}" for verb in ("open", "keep_lease", "close_lease"))
"""Open a file host's link, which is the right to its bytes: for the worker that fetches them, and for nobody else."""


def _reads(*streams: str) -> tuple[str, ...]:
    """What it takes to follow a stream from a mark of one's own."""
    return tuple(
        subject
        for stream in streams
        for subject in (
            f"$JS.API.STREAM.INFO.{stream}",
            f"$JS.API.DIRECT.GET.{stream}",
            f"$JS.API.CONSUMER.CREATE.{stream}.*",
            f"$JS.API.CONSUMER.DELETE.{stream}.*",
            f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*",
        )
    )


def _asks(*services: str) -> tuple[str, ...]:
    return tuple(f"{kind}.{service}.*" for service in services for kind in ("cmd", "q"))


def _service(
    name: str, *, publish: Iterable[str] = (), never: tuple[str, ...] = (), hear: Iterable[str] = ()
) -> UserSpec:
    stream = event_stream(name)
    return UserSpec(
        name=name,
        never=never,
        publish=(
            f"ev.{name}.>",
            f"wake.{name}",
            f"$JS.API.STREAM.INFO.{stream}",
            f"$JS.API.DIRECT.GET.{stream}",
            *publish,
        ),
        hear=(f"cmd.{name}.*", f"q.{name}.*", f"wake.{name}", *hear),
    )


EVENTS = tuple(event_stream(service) for service in SERVICES)

USERS: tuple[UserSpec, ...] = (
    _service(
        "gateway",
        hear=("progress.*.*", "ctl.asked"),
        never=(*NO_ATTEMPTS, *LEASES, OPENED, *PUT_ASIDE),
        publish=(
            *_asks("auth", "job", "scheduler", "unrestrict_proxy", "storage", "notifier"),
            "q.worker.inspect",
            "ctl.asked",
            *_reads(*EVENTS),
        ),
    ),
    _service("auth"),
    _service(
        "job",
        publish=(
            "work.run.*.*",
            "$JS.API.STREAM.INFO.WORK",
            "progress.*.*",
            "ctl.job.*",
            "ctl.shares",
            "$JS.API.CONSUMER.INFO.WORK.*",
            *_reads("EV_AUTH"),
        ),
        hear=("ctl.shares",),
    ),
    _service("scheduler", publish=("wake.job", "cmd.job.submit", *_reads("EV_SCHEDULER", "EV_JOB"))),
    _service(
        "unrestrict_proxy",
        publish=(
            "cmd.job.submit",
            "cmd.job.delete_files",
            "ctl.hosts",
            "ctl.link.*",
            "q.storage.file",
            "q.storage.link",
            *_reads("EV_UNRESTRICT_PROXY", "EV_JOB", "EV_STORAGE"),
        ),
    ),
    _service("storage", publish=_reads("EV_JOB")),
    _service("notifier", publish=_reads("EV_NOTIFIER", "EV_JOB")),
    UserSpec(
        name="worker",
        hear=("ctl.job.*", "ctl.hosts", "ctl.link.*", "ctl.shares", "q.worker.*"),
        publish=(
            *(f"cmd.job.{verb}" for verb in REPORTS),
            "cmd.storage.store",
            "q.unrestrict_proxy.hosts",
            *LEASES,
            OPENED,
            "q.job.archived",
            *(f"$JS.API.CONSUMER.MSG.NEXT.WORK.{queue}" for queue in QUEUES),
            *(f"$JS.ACK.WORK.{queue}.>" for queue in QUEUES),
        ),
    ),
    # The operator on this machine: asks everything, announces nothing, holds no attempt.
    UserSpec(
        name="cli",
        hear=("progress.*.*",),
        never=(*(f"cmd.job.{verb}" for verb in REPORTS), *LEASES, OPENED),
        publish=(
            *_asks(*SERVICES),
            *_reads(*EVENTS),
            "$JS.API.INFO",
            "$JS.API.STREAM.INFO.*",
            "$JS.API.STREAM.NAMES",
            "$JS.API.CONSUMER.INFO.*.*",
        ),
    ),
    # The only one that makes and changes streams and durable consumers; it has no say on any subject of theirs.
    UserSpec(
        name="topology",
        publish=(
            "$JS.API.INFO",
            "$JS.API.STREAM.CREATE.*",
            "$JS.API.STREAM.UPDATE.*",
            "$JS.API.STREAM.INFO.*",
            "$JS.API.STREAM.NAMES",
            "$JS.API.STREAM.LIST",
            "$JS.API.STREAM.DELETE.*",
            "$JS.API.CONSUMER.CREATE.>",
            "$JS.API.CONSUMER.DURABLE.CREATE.*.*",
            "$JS.API.CONSUMER.INFO.*.*",
            "$JS.API.CONSUMER.NAMES.*",
            "$JS.API.CONSUMER.LIST.*",
            "$JS.API.CONSUMER.DELETE.*.*",
        ),
    ),
)
