"""A message, and what the server says when it does not do as it was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from nats.aio.msg import Msg

from libs.feed import SinkGone, WrongSequence

WRONG_SEQUENCE = frozenset({10071, 10070, 10201, 10176, 10174})
"""Wrong last sequence or message, duplicate in a batch, incomplete or abandoned batch: the end is elsewhere."""
STREAM_GONE = 10059


class BusError(Exception):
    """The bus did not carry this message."""


class Unreachable(BusError):
    """Nobody listens on this subject now."""


class TimedOut(BusError):
    """No answer in time; whether it was acted on is unknown."""


class ConnectionLost(BusError):
    """The connection went before the answer came, and no answer will; whether it was acted on is unknown."""


class Refusing(BusError):
    """The server understood the request and said no."""


class Message(msgspec.Struct, frozen=True):
    subject: str
    headers: Mapping[str, str]
    body: bytes


def answer_of(reply: Msg, subject: str) -> Message:
    headers = reply.headers or {}
    if not reply.data and headers.get("Status") == "503":
        raise Unreachable(f"nobody answers {subject}")
    return Message(reply.subject, headers, reply.data)


def accepted(body: bytes, about: str = "") -> dict[str, Any]:
    """The answer of JetStream. Raises WrongSequence, SinkGone for a stream that is not there, Refusing for any other
    no."""
    answer: dict[str, Any] = json.loads(body)
    if error := answer.get("error"):
        text = f"{about}{error.get('description')}"
        if error.get("err_code") in WRONG_SEQUENCE:
            raise WrongSequence(text)
        raise SinkGone(text) if error.get("err_code") == STREAM_GONE else Refusing(text)
    return answer
