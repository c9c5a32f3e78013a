"""What an earlier attempt left in the folder, brought into a state from which yt-dlp resumes rightly.

A plain file resumes from its `.part`. A stream of pieces does not: yt-dlp notes beside the file how many pieces are in
it, several threads write that note, and after a kill it can be wrong in either direction. So the pieces are kept, each
renamed when it is whole, and what was put together from them is begun again: nothing whole is asked for twice.
"""

from __future__ import annotations

from pathlib import Path


def tidy(folder: Path) -> None:
    """Before an attempt."""
    for piece in folder.glob("*.part-Frag*"):
        if piece.name.endswith(".part"):
            piece.unlink()
        _forget(folder / piece.name.partition(".part-Frag")[0])
    for note in folder.glob("*.ytdl"):
        _forget(note.with_suffix(""))


def begin_again(folder: Path) -> None:
    """When a partial file turned out to be of no use."""
    for left in (*folder.glob("*.part*"), *folder.glob("*.ytdl")):
        left.unlink()


def drop_pieces(file: Path) -> None:
    """When the file that was put together from them stands under its own name."""
    for piece in file.parent.glob(f"{file.name}.part-Frag*"):
        piece.unlink()


def _forget(file: Path) -> None:
    for name in (f"{file.name}.part", f"{file.name}.ytdl"):
        file.with_name(name).unlink(missing_ok=True)
