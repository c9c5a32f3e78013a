"""Presets of the operator: options under a name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Self

import msgspec
from msgspec.structs import asdict, replace

from libs.settings import BadSettings
from proto.job import Options
from services.job.engines.options import conflict

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_OF_ONE_LINK = frozenset(
    {"preset", "filename", "target_id", "fallback_urls", "webhook_url", "progress_webhook", "labels"}
)
_NOTHING_CHOSEN = Options()


class UnknownPreset(Exception):
    """Nobody has defined it."""


class Presets:
    """What a job chooses itself goes before what its preset says; a choice that is the ordinary one is none."""

    def __init__(self, known: Mapping[str, Options] | None = None) -> None:
        self._known = dict(known or {})

    @classmethod
    def read_setting(cls, value: object) -> Self:
        """Of a table by name of tables of options, or the same as JSON. Raises BadSettings with every problem."""
        problems: list[str] = []
        if isinstance(value, str):
            try:
                value = json.loads(value or "{}")
            except ValueError as error:
                raise BadSettings([f"it is no JSON: {error}"]) from error
        if not isinstance(value, Mapping):
            raise BadSettings(["it is no table of presets by name"])
        known = {str(name): _preset(str(name), chosen, problems) for name, chosen in value.items()}
        if problems:
            raise BadSettings(problems)
        return cls(known)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._known))

    def applied(self, chosen: Options) -> Options:
        """Raises UnknownPreset."""
        if chosen.preset is None:
            return chosen
        preset = self._known.get(chosen.preset)
        if preset is None:
            raise UnknownPreset(chosen.preset)
        usual = asdict(_NOTHING_CHOSEN)
        own = {name: value for name, value in asdict(chosen).items() if value != usual[name]}
        return replace(preset, **{**own, "preset": None})


def _preset(name: str, chosen: object, problems: list[str]) -> Options:
    if not _NAME.fullmatch(name):
        problems.append(f"{name!r} is no name: small letters, digits, - and _")
    if not isinstance(chosen, Mapping):
        problems.append(f"{name} is no table of options")
        return _NOTHING_CHOSEN
    good: dict[str, Any] = {}
    before = len(problems)
    for option, value in chosen.items():
        if option not in Options.__struct_fields__ or option in _OF_ONE_LINK:
            problems.append(f"{name}: a preset has no option called {option}")
            continue
        try:
            good[option] = getattr(msgspec.convert({option: value}, Options), option)
        except msgspec.ValidationError as error:
            problems.append(f"{name}: {error}")
    options = Options(**good)
    if len(problems) == before and (wrong := conflict(options)) is not None:
        problems.append(f"{name}: {wrong}")
    return options
