"""Commands of an operator on a running installation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from libs import telemetry
from libs.bus import BusError
from libs.calls import ServiceFailed
from libs.message import Refused
from libs.settings import BadSettings
from libs.supervisor import UnusableFolder
from services.operate.connection import NotRunning, connect
from services.operate.hosts import host
from services.operate.jobs import NoJob, events, get, history, job, jobs
from services.operate.keys import key
from services.operate.letters import dead_letters
from services.operate.users import add_user, limit_user, quota, set_password
from services.operate.words import BadWord

__all__ = ["NotRunning", "connect", "operate"]


async def operate(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    telemetry.setup("cli", level="error")  # stdout is the command's result, and nothing else
    try:
        async with connect(options, environ) as (bus, caller):
            match options.command:
                case "user" if options.action == "limit":
                    return await limit_user(options, caller)
                case "user" if options.action == "quota":
                    return await quota(options, caller)
                case "user" if options.action == "password":
                    return await set_password(options, caller)
                case "user":
                    return await add_user(options, caller)
                case "key":
                    return await key(options, caller, environ)
                case "host":
                    return await host(options, caller)
                case "dead-letters":
                    return await dead_letters(options, caller)
                case "get":
                    return await get(options, bus, caller, environ)
                case "jobs":
                    return await jobs(caller)
                case "job":
                    return await job(options.id, caller)
                case "history":
                    return await history(options.id, caller)
                case _:
                    return await events(options, bus)
    except Refused as refused:
        print(f"{refused.refusal.message}.", file=sys.stderr)
    except BadWord as error:
        print(f"{error}.", file=sys.stderr)
        return 2
    except (UnusableFolder, BadSettings) as error:
        print(error, file=sys.stderr)
    except NotRunning as error:
        print(f"{error}; start it with `longshore up`.", file=sys.stderr)
    except (NoJob, BusError, ServiceFailed) as error:
        print(f"{error}.", file=sys.stderr)
    return 1
