"""Environment and one TOML file to one struct per service; every problem is reported at once.

Order of precedence: values given by the caller, environment, the service's table of the file, the file's top level,
the field's default.
"""

from __future__ import annotations

import difflib
import tomllib
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

PREFIX = "LONGSHORE_"
CONFIG = "LONGSHORE_CONFIG"
FOREIGN: Mapping[str, str] = {"otlp_endpoint": "OTEL_EXPORTER_OTLP_ENDPOINT"}
"""Fields whose environment name is a standard of its own."""

S = TypeVar("S", bound=msgspec.Struct)

OptionalUrl = Annotated[
    str, Meta(pattern=r"^(https?://[^\s/?#@]+(/[^\s?#]*)?)?$", description="an address such as https://example.org")
]
NatsUrl = Annotated[
    str, Meta(pattern=r"^(nats|tls|ws|wss)://\S+$", description="an address such as nats://127.0.0.1:4222")
]
DatabaseUrl = Annotated[
    str,
    Meta(pattern=r"^postgres(ql)?://\S+$", description="an address such as postgresql://user:password@host/longshore"),
]


class BadSettings(Exception):
    """Some settings are wrong; `problems` has one sentence each, saying what to do."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def environment_name(field: str) -> str:
    return FOREIGN.get(field, PREFIX + field.upper())


def _field(environment: str) -> str:
    standard = {name: field for field, name in FOREIGN.items()}
    return standard.get(environment, environment.removeprefix(PREFIX).lower())


def environment_names(struct: type[msgspec.Struct]) -> set[str]:
    return {environment_name(field.name) for field in msgspec.structs.fields(struct)}


def read(field: str, environ: Mapping[str, str]) -> str | None:
    """One setting that is text, otherwise unchecked, for what must be known before all others can be; None when it is
    not set. Raises BadSettings for what is no text, and for a file that can not be read."""
    problems: list[str] = []
    file = _read_file(environ.get(CONFIG), problems)
    if problems:
        raise BadSettings(problems)
    value = environ.get(environment_name(field), file.get(field))
    if value is not None and not isinstance(value, str):
        raise BadSettings([f"Correct {environment_name(field)}: it must be text, in quotes."])
    return value


def load(
    structs: Mapping[str, type[msgspec.Struct]],
    environ: Mapping[str, str],
    *,
    given: Mapping[str, Mapping[str, object]] | None = None,
    known: Callable[[], Iterable[str]] = tuple,
    tables: Iterable[str] = (),
) -> dict[str, Any]:
    """One validated struct per name. `given` has values per name that no user sets (the embedded servers' URLs);
    `known` gives environment names that belong to somebody else, and is asked only when there is a name that is not
    ours: to know it means to import those others. `tables` are their tables of the file. Raises BadSettings with every
    problem found.
    """
    problems: list[str] = []
    file = _read_file(environ.get(CONFIG), problems)
    ours = {CONFIG}.union(*map(environment_names, structs.values()))
    if _unknown(environ, file, ours, {*structs, *tables}):
        problems += _unknown(environ, file, ours | set(known()), {*structs, *tables})
    result: dict[str, Any] = {}
    for name, cls in structs.items():
        fields, table = {field.name for field in msgspec.structs.fields(cls)}, file.get(name)
        values: ChainMap[str, object] = ChainMap(
            dict((given or {}).get(name, {})),
            {field: environ[environment_name(field)] for field in fields if environment_name(field) in environ},
            table if isinstance(table, dict) else {},
            file,
        )
        converted = _convert(cls, values, problems)
        if converted is not None:
            result[name] = converted
    if problems:
        raise BadSettings(dict.fromkeys(problems))
    return result


def _convert(cls: type[S], values: Mapping[str, object], problems: list[str]) -> S | None:
    good: dict[str, object] = {}
    before = len(problems)
    for field in msgspec.structs.fields(cls):
        name = environment_name(field.name)
        if field.name not in values:
            if field.required:
                problems.append(f"Set {name}: it has no default.")
            continue
        read = getattr(field.type, "read_setting", None)
        try:
            if read is not None:  # a type that has more to say than that something is wrong
                good[field.name] = read(values[field.name])
                continue
            good[field.name] = msgspec.convert(values[field.name], field.type, strict=False, dec_hook=_path)
        except msgspec.ValidationError as error:
            wanted = _described(field.type) or _of_its_kind(msgspec.inspect.type_info(field.type))
            problems.append(f"Correct {name}: {f'it must be {wanted}' if wanted else error}.")
        except BadSettings as bad:
            problems += [f"Correct {name}: {problem}." for problem in bad.problems]
        except ValueError as error:
            problems.append(f"Correct {name}: {error}.")
    return cls(**good) if len(problems) == before else None


def _described(kind: Any) -> str | None:
    """What a setting must be, where its type says so in words."""
    said = (meta.description for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, Meta))
    of_parts = (_described(part) for part in getattr(kind, "__args__", ()))
    return next(filter(None, (*said, *of_parts)), None)


def _of_its_kind(kind: msgspec.inspect.Type) -> str | None:
    match kind:
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.LiteralType(values):
            return " or ".join(map(str, values))
        case msgspec.inspect.IntType(ge=None):
            return "a whole number"
        case msgspec.inspect.IntType(ge=least, le=None):
            return f"a whole number, {least} or more"
        case msgspec.inspect.IntType(ge=least, le=most):
            return f"a whole number from {least} to {most}"
        case msgspec.inspect.StrType(min_length=int(least)) if least > 1:
            return f"text of {least} characters or more"
        case msgspec.inspect.StrType(min_length=1):
            return "text that is not empty"
        case _:
            return None


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, (str, Path)):
        try:
            return Path(value).expanduser()
        except RuntimeError as error:
            raise msgspec.ValidationError(f"{value}: {error}") from error
    raise msgspec.ValidationError(f"Expected a path, got `{type(value).__name__}`")


def _read_file(name: str | None, problems: list[str]) -> dict[str, Any]:
    if not name:
        return {}
    try:
        with Path(name).expanduser().open("rb") as file:
            return tomllib.load(file)
    except (OSError, RuntimeError) as error:
        problems.append(f"Read {CONFIG}={name}: {getattr(error, 'strerror', None) or error}.")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"Correct the TOML file {name}: {error}.")
    return {}


def _unknown(environ: Mapping[str, str], file: Mapping[str, Any], known: set[str], tables: set[str]) -> list[str]:
    fields = {_field(name) for name in known - {CONFIG}}
    return _unknown_names(environ, known) + _unknown_keys(file, fields, tables)


def _unknown_names(environ: Mapping[str, str], known: set[str]) -> list[str]:
    return [
        f"Remove {name}: no such setting{_perhaps(name, known)}."
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known
    ]


def _unknown_keys(file: Mapping[str, Any], fields: set[str], tables: set[str]) -> list[str]:
    found: list[str] = []
    for key, value in file.items():
        if isinstance(value, dict) and key in tables:
            found += [
                f"Remove {key}.{inner} from the file: no such setting{_perhaps(inner, fields)}."
                for inner in value
                if inner not in fields
            ]
        elif key not in fields:
            found.append(f"Remove {key} from the file: no such setting{_perhaps(key, fields | tables)}.")
    return found


def _perhaps(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}" if close else ""
