"""Longshore's streams, durable consumers and users of the bus: who may say what, and who may hear it.

Events are read by ephemeral consumers that begin at the reader's own mark, so no event stream has a durable one;
tickets have one per queue.
"""

from __future__ import annotations

from libs.bus.topology import SECOND, ConsumerSpec, StreamSpec, UserSpec, asks, events, reads, service_user
from libs.calls import subject
from proto import SERVICES
from proto.any import DropDeadLetter, RedriveDeadLetter
from proto.job import (
    ClaimAttempt,
    DeleteJobFiles,
    ListArchived,
    LoseWorker,
    ReportCompleted,
    ReportFailed,
    ReportInterrupted,
    ReportItem,
    ReportProgress,
    ReportStage,
    ReserveStorage,
    SubmitJobs,
    WorkerHeartbeat,
)
from proto.storage import LinkFile, ReadFile, StoreFile
from proto.unrestrict_proxy import CloseLease, KeepLease, ListHosts, OpenLink, ReadCookies
from proto.worker import InspectLink

# ---- streams and consumers ------------------------------------------------------------------------------------

STREAMS: tuple[StreamSpec, ...] = (
    *(events(service) for service in SERVICES),
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

REPORTS = tuple(
    subject(command)
    for command in (
        ClaimAttempt,
        ReserveStorage,
        ReportStage,
        ReportItem,
        ReportCompleted,
        ReportFailed,
        ReportInterrupted,
        ReportProgress,
        WorkerHeartbeat,
    )
)
"""Commands of a worker about the attempt it holds; nobody else may speak for an attempt."""
NO_ATTEMPTS = (*REPORTS, subject(LoseWorker))

PUT_ASIDE = tuple(subject(command, service) for service in SERVICES for command in (RedriveDeadLetter, DropDeadLetter))
"""What becomes of events that could not be applied is the operator's decision."""

OPENED = subject(ReadCookies)
"""Cookies with their values: for the worker that needs them, and for nobody who asks on behalf of people."""

LEASES = tuple(subject(command) for command in (OpenLink, KeepLease, CloseLease))
"""Open a file host's link, which is the right to its bytes: for the worker that fetches them, and for nobody else."""

USERS: tuple[UserSpec, ...] = (
    service_user(
        "gateway",
        hear=("progress.*.*", "ctl.asked"),
        never=(*NO_ATTEMPTS, *LEASES, OPENED, *PUT_ASIDE),
        publish=(
            *asks(*(service for service in SERVICES if service != "gateway")),
            subject(InspectLink),
            "ctl.asked",
            *reads(*SERVICES),
        ),
    ),
    service_user("auth"),
    service_user(
        "job",
        publish=(
            "work.run.*.*",
            "$JS.API.STREAM.INFO.WORK",
            "progress.*.*",
            "ctl.job.*",
            "ctl.shares",
            "$JS.API.CONSUMER.INFO.WORK.*",
            *reads("auth"),
        ),
        hear=("ctl.shares",),
    ),
    service_user("scheduler", publish=("wake.job", subject(SubmitJobs), *reads("scheduler", "job"))),
    service_user(
        "unrestrict_proxy",
        publish=(
            subject(SubmitJobs),
            subject(DeleteJobFiles),
            "ctl.hosts",
            "ctl.link.*",
            subject(ReadFile),
            subject(LinkFile),
            *reads("unrestrict_proxy", "job", "storage"),
        ),
    ),
    service_user("storage", publish=reads("job")),
    service_user("notifier", publish=reads("notifier", "job")),
    UserSpec(
        name="worker",
        hear=("ctl.job.*", "ctl.hosts", "ctl.link.*", "ctl.shares", "q.worker.*"),
        publish=(
            *REPORTS,
            subject(StoreFile),
            subject(ListHosts),
            *LEASES,
            OPENED,
            subject(ListArchived),
            *(f"$JS.API.CONSUMER.MSG.NEXT.WORK.{queue}" for queue in QUEUES),
            *(f"$JS.ACK.WORK.{queue}.>" for queue in QUEUES),
        ),
    ),
    # The operator on this machine: asks everything, announces nothing, holds no attempt.
    UserSpec(
        name="cli",
        hear=("progress.*.*",),
        never=(*REPORTS, *LEASES, OPENED),
        publish=(
            *asks(*SERVICES),
            *reads(*SERVICES),
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
