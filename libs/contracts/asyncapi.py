"""AsyncAPI 3.1: which message travels on which subject, who takes it, and what is answered.

Payloads point to the JSON Schema files beside the document, so that every message is described once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from libs.contracts.samples import sample
from libs.contracts.schemas import Document, Message, file_name, summary
from libs.message import ANY, Registry, tag

SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"
JSON = "application/json"
POSITION = {"type": "string", "pattern": "^[0-9]+\\.[0-9]+$", "description": "Transaction and number in the feed."}

_TEXT = {"type": "string"}
CALL_HEADERS: Document = {
    "type": "object",
    "required": ["ce-id", "ce-type", "ce-source", "deadline"],
    "properties": {
        "ce-id": {"type": "string", "format": "uuid"},
        "ce-type": _TEXT,
        "ce-source": _TEXT,
        "actor": _TEXT,
        "deadline": {"type": "string", "description": "Unix seconds; the asker has given up after them."},
        "command-id": {"type": "string", "format": "uuid", "description": "Repeating it repeats the first outcome."},
        "traceparent": _TEXT,
    },
}
EVENT_HEADERS: Document = {
    "type": "object",
    "required": ["Pos", "ce-id", "ce-type", "ce-source", "ce-subject", "ce-time", "ce-dataschema", "correlation-id"],
    "properties": {
        "Pos": POSITION,
        "Nats-Msg-Id": {"type": "string", "format": "uuid"},
        "ce-id": {"type": "string", "format": "uuid"},
        "ce-type": _TEXT,
        "ce-source": _TEXT,
        "ce-subject": {"type": "string", "format": "uuid", "description": "The stream (aggregate) of the event."},
        "ce-time": {"type": "string", "format": "date-time"},
        "ce-dataschema": {"type": "string", "description": "`<tag>.v<version>`: the file beside this one."},
        "version": {"type": "string", "description": "Place of the event in its stream, from 1."},
        "correlation-id": {"type": "string", "format": "uuid"},
        "causation-id": {"type": "string", "format": "uuid"},
        "actor": _TEXT,
        "traceparent": _TEXT,
    },
}


class Signal(msgspec.Struct, frozen=True):
    """A message outside requests and events: where it travels, with `{names}` for the parts that vary."""

    address: str
    message: Message
    sender: str
    takers: tuple[str, ...]


def asyncapi(
    registry: Registry,
    signals: Iterable[Signal],
    parameters: Mapping[str, str],
    *,
    title: str,
    version: str,
    description: str,
) -> Document:
    """The whole system in one document; an operation belongs to the service in its tag. `parameters` says what the
    `{names}` in the signals' addresses are."""
    pages = _Pages({**PARAMETERS, **parameters})
    for message in (*registry.commands.values(), *registry.queries.values()):
        pages.call(message, "cmd" if tag(message) in registry.commands else "q")
    for message in registry.refusals.values():
        pages.refusal(message)
    for message in registry.events.values():
        pages.event(message)
    for signal in signals:
        pages.signal(signal)
    return {
        "asyncapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "defaultContentType": JSON,
        "servers": {"nats": {"host": "localhost:4222", "protocol": "nats", "description": "JetStream is needed."}},
        "channels": pages.channels,
        "operations": pages.operations,
        "components": {
            "messages": pages.messages,
            "schemas": {"callHeaders": CALL_HEADERS, "eventHeaders": EVENT_HEADERS},
        },
    }


class _Pages:
    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._parameters = parameters
        self.channels: Document = {}
        self.operations: Document = {}
        self.messages: Document = {}

    def call(self, message: Message, prefix: str) -> None:
        name = tag(message)
        owner, verb = _parts(name)
        self.messages[name] = _message(message, "callHeaders")
        place = "{service}" if owner == ANY else owner
        self.channels[name] = self._channel(f"{prefix}.{place}.{verb}", name)
        self._reply_channel(owner)
        self.operations[f"{owner}.receive.{verb}"] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{name}"},
            "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
            "tags": [{"name": owner}],
            "bindings": {"nats": {"queue": owner}},
            "reply": {
                "address": {"location": "$message.header#/reply-to", "description": "The asker's NATS inbox."},
                "channel": {"$ref": f"#/channels/{owner}.reply"},
            },
        }

    def refusal(self, message: Message) -> None:
        name = tag(message)
        owner, _ = _parts(name)
        self.messages[name] = {
            "name": name,
            "title": message.__name__,
            **_maybe_summary(message),
            "contentType": JSON,
            "payload": _payload(
                {
                    "type": "object",
                    "required": ["refused"],
                    "properties": {"refused": {"$ref": file_name(message)}},
                }
            ),
            "examples": [{"payload": {"refused": sample(message, full=True)}}],
        }
        self._reply_channel(owner)["messages"][name] = {"$ref": f"#/components/messages/{name}"}

    def event(self, message: Message) -> None:
        name = tag(message)
        owner, verb = _parts(name)
        self.messages[name] = _message(message, "eventHeaders")
        self.channels[name] = self._channel(f"ev.{owner}.{{kind}}.{verb}.{{id}}", name)
        self._operation(owner, "send", verb, name)

    def signal(self, signal: Signal) -> None:
        name = tag(signal.message)
        self.messages[name] = _message(signal.message, None)
        self.channels[name] = self._channel(signal.address, name)
        self._operation(signal.sender, "send", _parts(name)[1], name)
        for taker in signal.takers:
            self._operation(taker, "receive", _parts(name)[1], name)

    def _channel(self, address: str, name: str) -> Document:
        parameters = re.findall(r"\{(\w+)\}", address)
        channel: Document = {"address": address, "messages": {name: {"$ref": f"#/components/messages/{name}"}}}
        if parameters:
            channel["parameters"] = {one: {"description": self._parameters[one]} for one in parameters}
        return channel

    def _operation(self, service: str, action: str, verb: str, name: str) -> None:
        self.operations[f"{service}.{action}.{verb}"] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{name}"},
            "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
            "tags": [{"name": service}],
        }

    def _reply_channel(self, owner: str) -> dict[str, Any]:
        if f"{owner}.reply" not in self.channels:
            self.messages |= {"reply.ok": _OK, "reply.failed": _FAILED}
            self.channels[f"{owner}.reply"] = {
                "address": None,
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in ("reply.ok", "reply.failed")},
            }
        channel: dict[str, Any] = self.channels[f"{owner}.reply"]
        return channel


def _parts(name: str) -> tuple[str, str]:
    """Service and verb of a tag, as subjects spell them."""
    owner, _, verb = name.partition(".")
    return owner, verb.replace(".", "_")


PARAMETERS: Mapping[str, str] = {
    "kind": "Kind of aggregate.",
    "id": "Id of the aggregate.",
    "service": "Subject token of a service.",
}


def _message(message: Message, headers: str | None) -> Document:
    page: Document = {"name": tag(message), "title": message.__name__, **_maybe_summary(message), "contentType": JSON}
    if headers:
        page["headers"] = {"$ref": f"#/components/schemas/{headers}"}
    page["payload"] = _payload({"$ref": file_name(message)})
    page["examples"] = [{"payload": sample(message, full=True)}]
    return page


def _maybe_summary(message: Message) -> Document:
    text = summary(message)
    return {"summary": text} if text else {}


def _payload(schema: Document) -> Document:
    return {"schemaFormat": SCHEMA_FORMAT, "schema": schema}


_OK: Document = {
    "name": "reply.ok",
    "summary": "Decided, and on disk.",
    "contentType": JSON,
    "payload": {"type": "object", "required": ["ok"], "properties": {"ok": {}, "position": POSITION}},
    "examples": [{"payload": {"ok": None, "position": "733.42"}}],
}
_FAILED: Document = {
    "name": "reply.failed",
    "summary": "The owner met a bug or lost its database; nothing is known about the outcome.",
    "contentType": JSON,
    "payload": {"type": "object", "required": ["failed"], "properties": {"failed": {"type": "string"}}},
    "examples": [{"payload": {"failed": "job.submit: ConnectionError"}}],
}
