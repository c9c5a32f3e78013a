"""Everything that is installed is pinned exactly, in one list, and nothing else is."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
UV = PROJECT["tool"]["uv"]
DIRECT = [
    *PROJECT["project"]["dependencies"],
    *(text for extra in PROJECT["project"]["optional-dependencies"].values() for text in extra),
    *(text for group in PROJECT["dependency-groups"].values() for text in group if isinstance(text, str)),
]
HERE: Mapping[str, str] = {}
WINDOWS = {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"}


def reachable(direct: Iterable[str], environment: Mapping[str, str]) -> set[str]:
    """Names of all that `direct` needs in an environment; what is not installed here ends the walk."""
    found: set[tuple[str, str]] = set()
    waiting = [(Requirement(text), "") for text in direct]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({**environment, "extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        new = {(name, wanted) for wanted in ("", *requirement.extras)} - found
        found |= new
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        waiting += [(Requirement(text), wanted) for _, wanted in new for text in needs]
    return {name for name, _ in found}


def pins(entries: Iterable[str]) -> dict[str, str]:
    """Name to version; an entry that is anything but `name==version` is kept under its whole text."""
    matches = {entry: re.fullmatch(r"([a-z0-9-]+)==([0-9][A-Za-z0-9.]*)", entry) for entry in entries}
    return {match[1] if match else entry: match[2] if match else "" for entry, match in matches.items()}


def test_every_installed_package_is_pinned_to_the_version_that_runs() -> None:
    """An install tomorrow is the install of today."""
    pinned = pins(UV["constraint-dependencies"])
    wrong = {}
    for name in sorted(reachable(DIRECT, HERE)):
        try:
            version = distribution(name).version
        except PackageNotFoundError:
            version = "any version: it is an extra that is not installed here"
        if pinned.get(name) != version and (name not in pinned or version[0].isdigit()):
            wrong[name] = f"installed {version}, pinned {pinned.get(name)}"

    assert wrong == {}


def test_no_pin_is_needless() -> None:
    """A pin outlives its package only on purpose: another platform needs it."""
    wanted = reachable(DIRECT, HERE) | reachable(DIRECT, WINDOWS)

    assert set(pins(UV["constraint-dependencies"])) - wanted == set()


def test_the_build_is_pinned_too() -> None:
    """The build backend and what it pulls in are exact, so the package builds the same everywhere."""
    build = pins(UV["build-constraint-dependencies"])

    assert all(build.values())
    assert set(PROJECT["build-system"]["requires"]) <= set(UV["build-constraint-dependencies"])


def test_no_entry_has_an_address() -> None:
    """Packages come from whatever index the machine uses; no address is written down."""
    entries = [*DIRECT, *UV["constraint-dependencies"], *UV["build-constraint-dependencies"]]

    assert [entry for entry in entries if "://" in entry or "@" in entry] == []
