"""The OpenAPI documents of the dialects as a judge of single answers."""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator

from services.gateway.dialects.gdluxx import document as gdluxx
from services.gateway.dialects.jobs import document as jobs

DOCUMENTS = {"jobs": jobs, "gdluxx": gdluxx}
UNSAID = {404, 405}
"""Statuses of what is no call at all."""


@cache
def document(dialect: str) -> dict[str, Any]:
    return dict(json.loads(DOCUMENTS[dialect].openapi("0")))


class Contract:
    def __init__(self, dialect: str) -> None:
        whole = document(dialect)
        self._roots = [server["url"].rstrip("/") for server in whole["servers"]]
        self._paths = whole["paths"]
        self._components = _closed(whole["components"])

    def differences(self, method: str, path: str, status: int, headers: Any, body: Any) -> list[str]:
        """Of an answer from what is documented; also fields that are not."""
        operation = self._operation(method, urlsplit(path).path)
        if operation is None:
            return [] if status in UNSAID else [f"{method} {path} is not documented"]
        said = operation["responses"].get(str(status))
        if said is None:
            return [f"status {status} is not documented"]
        wrong = [f"header {name} is missing" for name in said.get("headers", {}) if name not in headers]
        if headers.get("Content-Type") != "application/json":
            wrong.append(f"body is {headers.get('Content-Type')}")
        schema = {**said["content"]["application/json"]["schema"], "components": self._components}
        return wrong + [
            f"{error.json_path} of the body: {error.message}"
            for error in Draft202012Validator(schema).iter_errors(body)
        ]

    def _operation(self, method: str, path: str) -> Any:
        for template, operations in self._paths.items():
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
            if method.lower() in operations and any(re.fullmatch(root + pattern, path) for root in self._roots):
                return operations[method.lower()]
        return None


def _closed(schema: Any) -> Any:
    """No object has other fields than those that are named."""
    schema = copy.deepcopy(schema)
    for one in schema["schemas"].values():
        if "properties" in one:
            one.setdefault("additionalProperties", False)
    return schema
