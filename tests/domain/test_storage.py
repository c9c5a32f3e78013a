"""Names that are safe anywhere."""

from __future__ import annotations

from datetime import date
from pathlib import Path, PurePosixPath
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.names import ending, extensions, safe_name, unkept
from proto.storage import About
from services.storage.domain import (
    check_folders,
    folders,
    placed,
    safe_directory,
    words,
)

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


@pytest.mark.parametrize("device", ["CON .txt", "nul  .tar.gz", "COM\u00b9", "lpt\u00b3.txt", "CONIN$", "conout$.log"])
def test_what_windows_takes_for_a_device_is_no_name(device: str):
    """Blanks before the dot do not count for it, and \u00b9\u00b2\u00b3 are digits to it."""
    assert safe_name(device) == f"_{' '.join(device.split())}"


@pytest.mark.parametrize("hint", ["con " + "." * 300 + "x.mp4", "aux . " + " ." * 200 + "z.jpg"])
def test_a_name_that_is_cut_does_not_become_a_device(hint: str):
    assert safe_name(hint).split(".", maxsplit=1)[0].strip().lower() not in RESERVED


@pytest.mark.parametrize("folder", ["con", "NUL.d", "prn. "])
def test_a_folder_is_no_device_either(folder: str):
    assert str(safe_directory((folder,))).startswith("_")


@pytest.mark.parametrize(
    ("hint", "cut"),
    [
        ("a" * 200, "a" * 200),
        ("a" * 201 + ".mp4", "a" * 196 + ".mp4"),
        ("é" * 150 + ".mp4", "é" * 98 + ".mp4"),
        ("漢" * 100 + ".jpeg", "漢" * 65 + ".jpeg"),
        ("🙂" * 90 + ".webm", "🙂" * 48 + ".webm"),
    ],
    ids=["fits", "ascii", "two bytes", "three bytes", "four bytes"],
)
def test_a_long_name_is_cut_between_characters_and_keeps_its_extension(hint: str, cut: str):
    assert safe_name(hint) == cut


def test_what_is_too_long_to_be_an_extension_does_not_survive_as_one():
    assert len(safe_name("a." + "b" * 400).encode()) <= 200


@given(st.lists(st.one_of(ANYTHING, NASTY), max_size=4), st.one_of(ANYTHING, NASTY))
def test_the_same_words_always_lead_to_the_same_place(parts: list[str], name: str):
    assert placed(OWNER, tuple(parts), name) == placed(OWNER, tuple(parts), name)


@given(st.text(max_size=600), st.integers(1, 10_000))
def test_a_twin_of_the_longest_name_still_fits(name: str, twin: int):
    path = placed(OWNER, (), name, twin)

    assert len(path.name.encode()) <= 255
    assert path.name != placed(OWNER, (), name).name
    assert path.suffix == placed(OWNER, (), name).suffix


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("film.MP4", "mp4"),
        ("film.mp4.exe", "exe"),
        ("setup.exe. ", "exe"),
        ("setup.exe/", ""),
        ("Mr. Good review", ""),
        ("Version 1.5", ""),
        ("backup.7z.001", ""),
        ("README", ""),
        (".bashrc", ""),
    ],
)
def test_an_ending_is_what_a_system_would_act_upon(name: str, expected: str):
    """As the file will be called, not as it was announced."""
    assert ending(name) == expected


def test_a_type_of_anything_says_nothing_however_it_is_spelt():
    assert unkept("get", "Application/Octet-Stream", frozenset({"png"})) is None
    assert unkept("get", "text/plain", frozenset({"png"})) == "files of type text/plain are not kept here"


def test_the_operators_list_adds_to_ours_or_takes_its_place():
    ours = extensions("default")

    assert ours is not None
    assert {"mp4", "srt", "pdf", "zip", "json"} <= ours
    assert not {"exe", "js", "html", "sh", "msi", "bat", "apk"} & ours
    assert extensions("exe,default") == ours | {"exe"}
    assert extensions("mp4") == frozenset({"mp4"})
    assert extensions("default,*") is None


@pytest.mark.parametrize(
    ("name", "media_type", "why"),
    [
        ("a.EXE", "video/mp4", "files that end in .exe are not kept here"),
        ("a.mp4", "application/x-msdownload", None),
        ("get", "application/x-msdownload", "files of type application/x-msdownload are not kept here"),
        ("get", "Text/HTML", "files of type Text/HTML are not kept here"),
        ("get", "video/mp4", None),
        ("README", "text/plain", None),
        ("get", "application/octet-stream", None),
        ("get", "application/x-nobody-knows", None),
        ("get", "", None),
    ],
)
def test_a_type_tells_what_a_name_without_an_ending_does_not(name: str, media_type: str, why: str | None):
    assert unkept(name, media_type, extensions("default")) == why
    assert unkept(name, media_type, None) is None


ABOUT = About(site="don.test", uploader="Ada / Lovelace", collection="", date="2026-01-31")


def test_folders_are_named_after_what_is_known_of_a_file():
    known = words(ABOUT, OWNER, date(2026, 2, 3))

    assert folders("{site}/{uploader}/{year}-{month}/{collection}", known) == (
        "don.test", "Ada _ Lovelace", "2026-01", "unknown",
    )  # fmt: skip
    assert folders("", known) == ("",)
    assert words(About(), OWNER, date(2026, 2, 3))["date"] == "2026-02-03"


@given(ANYTHING | NASTY)
def test_no_word_leads_out_of_the_owners_folder(word: str):
    known = words(About(site=word, uploader=word, collection=word, date=word), OWNER, date(2026, 2, 3))
    path = placed(OWNER, folders("{site}/{uploader}/x{collection}/{date}", known), "a")

    assert path.parts[0] == str(OWNER)
    assert len(path.parts) == 6
    assert not {"..", "."} & set(path.parts)


@pytest.mark.parametrize("template", ["{colour}", "{site", "site}", "{{site}}", "{}"])
def test_a_template_with_another_field_is_refused(template: str):
    with pytest.raises(ValueError, match="folders"):
        check_folders(template)
