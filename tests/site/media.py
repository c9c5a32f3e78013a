"""Small real videos, sounds and pictures, made once per machine with the ffmpeg of the wheel."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import imageio_ffmpeg
import msgspec

EXACT = "-threads 1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -map_metadata -1"
VIDEO = f"-c:v libx264 -preset veryfast -g 12 -pix_fmt yuv420p -b:v 500k -c:a aac -b:a 64k {EXACT} -movflags +faststart"
SCENE = "-f lavfi -i testsrc2=size=320x180:rate=24:duration=2 -f lavfi -i sine=frequency=440:duration=2"
OTHER_SCENE = "-f lavfi -i testsrc=size=320x180:rate=24:duration=2 -f lavfi -i sine=frequency=880:duration=2"
DASH = "-use_template 1 -init_seg_name init-$RepresentationID$.m4s -media_seg_name part-$RepresentationID$-$Number$.m4s"
RECIPE = (
    f"{SCENE} {VIDEO} clip.mp4",
    f"{OTHER_SCENE} {VIDEO} second.mp4",
    f"-f lavfi -i sine=frequency=660:duration=2 -c:a libmp3lame -b:a 64k {EXACT} tone.mp3",
    f"-f lavfi -i testsrc=size=160x90:rate=1:duration=1 -frames:v 1 -c:v mjpeg -pix_fmt yuvj420p {EXACT} photo.jpg",
    "-i clip.mp4 -c copy -f hls -hls_time 0.5 -hls_playlist_type vod -hls_segment_filename clip-%d.ts clip.m3u8",
    f"-i clip.mp4 -c copy -f dash -seg_duration 0.5 -use_timeline 1 {DASH} clip.mpd",
)
TYPES = {
    ".mp4": "video/mp4",
    ".mp3": "audio/mpeg",
    ".jpg": "image/jpeg",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".ts": "video/mp2t",
    ".mpd": "application/dash+xml",
    ".m4s": "video/iso.segment",
}


class Media(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    type: str
    body: bytes
    sha256: str

    @property
    def size(self) -> int:
        return len(self.body)


@functools.cache
def library() -> dict[str, Media]:
    """Every made file by name: clip.mp4, second.mp4, tone.mp3, photo.jpg, clip.m3u8, clip.mpd and their segments."""
    folder = _made()
    return {
        path.name: Media(
            name=path.name,
            type=TYPES[path.suffix],
            body=(body := path.read_bytes()),
            sha256=hashlib.sha256(body).hexdigest(),
        )
        for path in sorted(folder.iterdir())
    }


def _made() -> Path:
    """By whichever worker comes first; the others wait, for it takes every processor there is."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    key = hashlib.sha256(repr((RECIPE, imageio_ffmpeg.get_ffmpeg_version())).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"longshore-media-{os.getuid()}-{key}"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            making = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
            for line in RECIPE:
                command = [ffmpeg, "-nostdin", "-v", "error", "-y", *line.split()]
                subprocess.run(command, cwd=making, check=True, timeout=60)
            making.rename(folder)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else")
    return folder


def pictures(file: Path) -> str:
    """Hash of the decoded frames: the same for every container and cutting of one video (mp4, HLS, DASH)."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    command = [ffmpeg, "-nostdin", "-v", "error", "-i", str(file), "-map", "0:v:0", "-fps_mode", "passthrough"]
    done = subprocess.run(
        [*command, "-f", "hash", "-hash", "sha256", "-"], check=True, timeout=60, capture_output=True, text=True
    )
    return done.stdout.strip().removeprefix("SHA256=")
