"""Secrets are not in what a struct shows of itself, which is what ends in an error's text."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
import pytest

from libs.calls import Call
from libs.contracts.samples import sample
from libs.database import Target
from libs.message import Meta
from libs.supervisor.folder import Secrets
from proto import MODULES, SERVICES
from proto.auth import IssuedKey
from proto.notifier import ConfigureSlack
from services.gateway.dialects.external import wire as external
from services.gateway.dialects.gdluxx import wire as gdluxx
from services.gateway.dialects.jobs import shown
from services.gateway.dialects.jobs import wire as jobs
from services.gateway.dialects.webgui import translate as webgui
from services.serve import load_settings

MARK = "the-secret-itself"
NAMES = frozenset({"password", "secret", "access_token", "refresh_token", "credentials", "webhook_signing_secret"})
OTHERS: tuple[tuple[type[msgspec.Struct], str], ...] = (
    (IssuedKey, "key"),
    (ConfigureSlack, "webhook_url"),
    (jobs.Slack, "webhook_url"),
    (gdluxx.Cookie, "value"),
)


def secrets() -> Iterator[tuple[type[msgspec.Struct], str]]:
    modules: tuple[types.ModuleType, ...] = (*MODULES, external, gdluxx, jobs, shown, webgui)
    for module in modules:
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__:
                yield from ((kind, name) for name in kind.__struct_fields__ if name in NAMES)
    yield from OTHERS


@pytest.mark.parametrize(("kind", "field"), [pytest.param(*one, id=f"{one[0].__name__}.{one[1]}") for one in secrets()])
def test_a_struct_with_a_secret_does_not_show_it(kind: type[msgspec.Struct], field: str):
    one = msgspec.structs.replace(msgspec.convert(sample(kind, full=True), kind), **{field: MARK})

    assert MARK not in repr(one)


@pytest.mark.parametrize("service", SERVICES)
def test_settings_do_not_show_their_secrets(service: str):
    kind = load_settings(service)
    secret = {"secret_key", "database_url", "admin_password"} & {*kind.__struct_fields__}
    required = [field.name for field in msgspec.structs.fields(kind) if field.required]
    given: dict[str, Any] = dict.fromkeys([*required, *secret], MARK)
    one = kind(**given)

    assert all(f"{name}=..." in repr(one) for name in secret)


def test_what_comes_with_a_command_is_not_shown():
    call = Call(meta=Meta(correlation=UUID(int=1)), command_id=None, actor="me", deadline=0.0, body=MARK.encode())

    assert MARK not in repr((call, Secrets(MARK, MARK, {"job": MARK})))
    assert "actor='me'" in repr(call)


def test_where_a_schema_is_does_not_show_the_password_to_it(tmp_path):
    assert MARK not in repr(Target(f"postgresql://me:{MARK}@localhost/x", "job", tmp_path))
