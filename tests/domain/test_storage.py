"""Names that are safe anywhere."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.storage.domain import placed, safe_directory, safe_name

OWNER = UUID(int=1)
ANYTHING = st.text(max_size=600)
NASTY = st.lists(
    st.sampled_from(["/", "\\", ".", "..", " ", "\0", "\n", "a", "é", "漢", "\u202e", "\ud800", ":", "CON", "~"]),
    max_size=60,
).map("".join)
RESERVED = {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))}

NAMES = {
    "report.pdf": "report.pdf",
    "../../etc/passwd": "passwd",
    "C:\\Windows\\system.ini": "system.ini",
    "a\nb\x00c.txt": "a b_c.txt",
    "..": "file",
    "": "file",
    " . ": "file",
    "///": "file",
    "con": "_con",
    "NUL.txt": "_NUL.txt",
    "photo\u202egpj.exe": "photo_gpj.exe",
    "what?.mp4": "what_.mp4",
    "trailing. ": "trailing",
    "a   b\t c.txt": "a b c.txt",
    ".hidden": "hidden",
    "e\u0301.txt": "é.txt",
    "\ud800.txt": "_.txt",
}


@pytest.mark.parametrize(("hint", "safe"), NAMES.items(), ids=range(len(NAMES)))
def test_a_name_becomes_safe_in_a_way_that_people_recognise(hint: str, safe: str):
    assert safe_name(hint) == safe


def holds_anywhere(name: str) -> bool:
    return (
        0 < len(name.encode()) <= 255
        and name not in (".", "..")
        and not any(c in '<>:"/\\|?*' or ord(c) < 32 or 127 <= ord(c) < 160 for c in name)
        and name.split(".", maxsplit=1)[0].strip().lower() not in RESERVED
        and name == name.strip(" .")
    )


@given(st.one_of(ANYTHING, NASTY))
def test_whatever_is_asked_for_the_name_holds_on_every_file_system(hint: str):
    assert holds_anywhere(safe_name(hint))


@given(st.one_of(ANYTHING, NASTY))
def test_a_safe_name_is_left_as_it_is(hint: str):
    once = safe_name(hint)

    assert safe_name(once) == once


@given(st.lists(st.one_of(ANYTHING, NASTY), max_size=8), st.one_of(ANYTHING, NASTY), st.integers(0, 3))
def test_no_folder_and_no_name_leads_out_of_the_owners_folder(parts: list[str], name: str, twin: int):
    path = placed(OWNER, tuple(parts), name, twin)

    assert not path.is_absolute()
    assert path.parts[0] == str(OWNER)
    assert all(holds_anywhere(part) for part in path.parts)
    assert Path("/root", path).resolve().is_relative_to(Path("/root", str(OWNER)).resolve())


@given(st.text(min_size=250, max_size=600), st.sampled_from(["mp4", "tar", "jpeg"]))
def test_a_name_that_is_too_long_keeps_its_extension(stem: str, extension: str):
    assert PurePosixPath(safe_name(f"{stem}a.{extension}")).suffix == f".{extension}"


def test_empty_and_climbing_folders_vanish():
    assert safe_directory(("a", "", "..", "../b", "/", "c/d")) == PurePosixPath("a/b/d")


def test_twins_are_told_apart_before_their_extension():
    assert placed(OWNER, ("x",), "a.txt", 1) == PurePosixPath(str(OWNER), "x", "a (2).txt")
