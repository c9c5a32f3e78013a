"""Backups of the extension's settings: what of them is looked at, and what is kept as it came. Pure.

A profile whose frame (id, scope, host) can not be read is skipped. One that is otherwise not as we know them is kept,
and named: it may come from a newer extension. What is kept is kept byte for byte, unknown fields included.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from services.gateway.dialects.gdluxx.translate import BAD_PAYLOAD, Invalid, described, synced_by
from services.gateway.dialects.gdluxx.wire import Notes, Upsert

KINDS = ("profiles", "subs", "extraction")
BODY_LIMIT = 8 * 1024 * 1024
BYTES_MOST = 5 * 1024 * 1024
PROFILES_MOST = 10_000
PROFILES_PER_HOST = 50

Text = Annotated[str, Meta(min_length=1)]
Name = Annotated[str, Meta(max_length=200)]


# ---- what a profile is, as far as we know ---------------------------------------------------------------------


class Spine(Struct, frozen=True, kw_only=True, rename="camel"):
    id: Text
    scope: Literal["host", "origin", "path"]
    host: Text
    path: str | UnsetType = UNSET
    origin: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.scope == "path" and not self.path:
            raise ValueError('Path is required when scope is "path".')
        if self.scope == "origin" and not self.origin:
            raise ValueError('Origin is required when scope is "origin".')


class _Dated(Spine, frozen=True, kw_only=True, rename="camel"):
    created_at: float
    updated_at: float
    last_used: float | UnsetType = UNSET
    name: Name | UnsetType = UNSET


class Selectors(_Dated, frozen=True, kw_only=True, rename="camel"):
    start_selector: str
    end_selector: str

    def __post_init__(self) -> None:
        Spine.__post_init__(self)
        if not self.start_selector.strip() and not self.end_selector.strip():
            raise ValueError("At least one of startSelector or endSelector must be non-empty.")


class Rule(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether its pattern is one is for the browser to say."""

    id: Text
    pattern: str
    replacement: str
    flags: Annotated[str, Meta(pattern="^[dgimsuvy]*$")]
    enabled: bool
    order: Annotated[float, Meta(ge=0)]


class Substitutions(_Dated, frozen=True, kw_only=True, rename="camel"):
    rules: Annotated[list[Rule], Meta(max_length=50)]
    apply_to_preview: bool

    def __post_init__(self) -> None:
        Spine.__post_init__(self)
        if not any(rule.pattern.strip() for rule in self.rules):
            raise ValueError("Profile must contain at least one rule with a non-empty pattern.")


class Body(Struct, frozen=True, kw_only=True, tag_field="via", tag="body"):
    pass


class Between(Struct, frozen=True, kw_only=True, tag_field="via", tag="string"):
    begin: Text
    end: Text


class Selected(Struct, frozen=True, kw_only=True, tag_field="via", tag="selector"):
    selector: Text
    attr: str | UnsetType = UNSET


class Range(Struct, frozen=True, kw_only=True, rename="camel", tag_field="mode", tag="range"):
    start_selector: str
    end_selector: str


class Targeted(Struct, frozen=True, kw_only=True, tag_field="mode", tag="targeted"):
    container: Body | Between | Selected
    images: Between | Selected


class Gallery(Struct, frozen=True, kw_only=True, rename="camel"):
    thumb_sizes: tuple[float, float, float]
    gap: Annotated[float, Meta(ge=0)]
    border: Annotated[float, Meta(ge=0)]
    button_corner: Literal["bottom-right", "bottom-left", "top-right", "top-left"]


class Extraction(_Dated, frozen=True, kw_only=True, rename="camel"):
    extraction: Range | Targeted
    rules: Annotated[list[Rule], Meta(max_length=500)]
    apply_to_preview: bool
    auto_apply: bool
    gallery: Gallery | UnsetType = UNSET
    directory_source: Selected | UnsetType | None = UNSET
    accumulate: bool | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        Spine.__post_init__(self)
        match self.extraction:
            case Range(start_selector=start, end_selector=end):
                says = bool(start.strip() or end.strip())
            case _:
                says = True
        if not (
            says
            or any(rule.pattern.strip() for rule in self.rules)
            or self.gallery is not UNSET
            or isinstance(self.directory_source, Selected)
        ):
            raise ValueError("Profile must have a selector, a target, a rule, a gallery or a directory source.")


_spine = msgspec.json.Decoder(Spine).decode
_known = {
    "profiles": msgspec.json.Decoder(Selectors).decode,
    "subs": msgspec.json.Decoder(Substitutions).decode,
    "extraction": msgspec.json.Decoder(Extraction).decode,
}


# ---- the envelope ---------------------------------------------------------------------------------------------


class _AsItCame(Struct, frozen=True, kw_only=True):
    bundle: Raw


class Bundle(Struct, frozen=True, kw_only=True):
    body: bytes
    profiles: int
    synced_by: str | None
    skipped: Notes
    tolerated: Notes


def read(kind: str, payload: bytes) -> Bundle:
    """What a PUT brings. Raises Invalid."""
    try:
        upsert = msgspec.json.decode(payload, type=Upsert)
        came = msgspec.json.decode(payload, type=_AsItCame).bundle
        bundle = msgspec.json.decode(came, type=dict[str, Raw])
    except msgspec.ValidationError as error:
        raise Invalid(described(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(BAD_PAYLOAD) from error
    size = len(bytes(came))
    if size > BYTES_MOST:
        raise Invalid(f"Bundle payload is {size} bytes; max allowed is {BYTES_MOST} bytes.")
    kept, skipped, tolerated = _sorted_out(kind, upsert.bundle.profiles)
    bundle["profiles"] = Raw(msgspec.json.encode(kept))
    return Bundle(
        body=msgspec.json.encode(bundle),
        profiles=len(kept),
        synced_by=synced_by(upsert.synced_by),
        skipped=skipped,
        tolerated=tolerated,
    )


def _sorted_out(kind: str, profiles: dict[str, Raw]) -> tuple[dict[str, Raw], Notes, Notes]:
    kept: dict[str, Raw] = {}
    hosts: Counter[str] = Counter()
    skipped, tolerated = Notes(), Notes()
    for key, profile in profiles.items():
        if key == "__proto__":
            skipped.add(key, "Unsupported profile key.")
            continue
        try:
            spine = _spine(profile)
        except (msgspec.DecodeError, RecursionError) as error:
            skipped.add(key, described(error))
            continue
        try:
            _known[kind](profile)
        except (msgspec.DecodeError, RecursionError) as error:
            tolerated.add(key, described(error))
        kept[key] = profile
        hosts[spine.host] += 1
    wrong = [f"Bundle exceeds maximum of {PROFILES_MOST} profiles ({len(kept)})."] if len(kept) > PROFILES_MOST else []
    wrong += [
        f'Host "{host}" has {count} profiles; max allowed is {PROFILES_PER_HOST}.'
        for host, count in hosts.items()
        if count > PROFILES_PER_HOST
    ]
    if wrong:
        raise Invalid("\n".join(wrong[: Notes.NAMED_MOST]))
    return kept, skipped, tolerated
