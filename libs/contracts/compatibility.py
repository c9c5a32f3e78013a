"""Which change of a message breaks one that was sent or stored before.

The question is always: does everything that fitted the old schema fit the new one, with the same meaning?
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
EXACT = ("pattern", "format", "multipleOf", "uniqueItems")


def incompatible(old: Schema, new: Schema) -> list[str]:
    """One sentence for every way in which `new` refuses or misreads what fitted `old`; empty when it reads it all.

    Names of structs, descriptions and the order of fields mean nothing on the wire and are not compared.
    """
    return list(_Comparison(old.get("$defs", {}), new.get("$defs", {})).compare(old, new, ""))


class _Comparison:
    def __init__(self, old_defs: Schema, new_defs: Schema) -> None:
        self._old_defs = old_defs
        self._new_defs = new_defs
        self._under_way: set[tuple[str, str]] = set()

    def compare(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        pair = (old.get("$ref", ""), new.get("$ref", ""))
        if all(pair):
            if pair in self._under_way:  # a recursive type: it is being compared further up
                return
            self._under_way.add(pair)
        yield from self._compare(_resolve(old, self._old_defs), _resolve(new, self._new_defs), path or "the message")
        self._under_way.discard(pair)

    def _compare(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        if not _constraints(new):
            return
        old_choices, new_choices = _alternatives(old), _alternatives(new)
        if len(old_choices) == len(new_choices) == 1:
            yield from self._single(old_choices[0], new_choices[0], path)
            return
        for choice in old_choices:
            same_kind = [other for other in new_choices if self._kind(choice, old=True) == self._kind(other, old=False)]
            found = [list(self.compare(choice, other, path)) for other in same_kind or new_choices]
            if not any(problems == [] for problems in found):
                yield from found[0] if len(same_kind) == 1 else [f"{path} no longer accepts {self._name(choice)}"]

    def _single(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        if not _type_fits(old, new):
            yield f"{path} was {_type(old)} and is {_type(new)}"
            return
        yield from _values(old, new, path)
        yield from _bounds(old, new, path)
        yield from self._items(old, new, path)
        if "properties" in old or "properties" in new:
            yield from self._fields(old, new, path)
        yield from self._others(old, new, path)

    def _fields(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        was, now = old.get("properties", {}), new.get("properties", {})
        required_before, required_now = set(old.get("required", ())), set(new.get("required", ()))
        for name, field in was.items():
            here = name if path == "the message" else f"{path}.{name}"
            if name not in now:
                yield f"{here} was removed"
                continue
            yield from self.compare(field, now[name], here)
            if name in required_now - required_before:
                yield f"{here} became required"
            elif "default" in field and "default" in now[name] and field["default"] != now[name]["default"]:
                yield f"{here} had the default {field['default']!r} and has {now[name]['default']!r}"
        for name in sorted(required_now - set(was)):
            yield f"{name if path == 'the message' else f'{path}.{name}'} is new and required"

    def _items(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        before, after = old.get("prefixItems", []), new.get("prefixItems", [])
        for place, pair in enumerate(zip(before, after, strict=False)):
            yield from self.compare(*pair, f"{path}[{place}]")
        if len(before) != len(after):
            yield f"{path} had {len(before)} fixed places and has {len(after)}"
        elif isinstance(old.get("items"), dict) and isinstance(new.get("items"), dict):
            yield from self.compare(old["items"], new["items"], f"{path}[]")
        elif isinstance(new.get("items"), dict) and not before:
            yield f"{path}[] accepted anything"

    def _others(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        before, after = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if after is False and before is not False:
            yield f"{path} no longer accepts fields that it does not know"
        elif isinstance(after, dict) and isinstance(before, dict):
            yield from self.compare(before, after, f"{path}[*]")
        elif isinstance(after, dict) and before is True and _constraints(after):
            yield f"{path}[*] accepted anything"

    def _kind(self, schema: Schema, *, old: bool) -> str:
        return _type(_resolve(schema, self._old_defs if old else self._new_defs))

    def _name(self, choice: Schema) -> str:
        schema = _resolve(choice, self._old_defs)
        return str(schema.get("title", _type(schema)))


def _resolve(schema: Schema, defs: Schema) -> Schema:
    while "$ref" in schema:
        schema = defs[schema["$ref"].removeprefix("#/$defs/")]
    return schema


def _constraints(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key not in ("title", "description", "default", "examples")}


def _alternatives(schema: Schema) -> list[Schema]:
    return list(schema.get("anyOf", [schema]))


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return "one of a list"
    return str(schema.get("type", "anything"))


def _type_fits(old: Schema, new: Schema) -> bool:
    before, after = _type(old), _type(new)
    if before == "one of a list" and after in ("string", "integer"):
        return all(isinstance(value, str if after == "string" else int) for value in old["enum"])
    return after in {before, "anything"} or (before, after) == ("integer", "number")


def _values(old: Schema, new: Schema, path: str) -> Iterator[str]:
    if "enum" in old and "enum" in new:
        for value in old["enum"]:
            if value not in new["enum"]:
                yield f"{path} no longer accepts {value!r}"


def _bounds(old: Schema, new: Schema, path: str) -> Iterator[str]:
    for words, stricter in ((LOWER, 1), (UPPER, -1)):
        for word in words:
            if word in new and (word not in old or (new[word] - old[word]) * stricter > 0):
                yield f"{path} has a narrower {word}: {old.get(word, 'none')} became {new[word]}"
    for word in EXACT:
        if word in new and new[word] != old.get(word):
            yield f"{path} has another {word}: {old.get(word, 'none')} became {new[word]}"
