"""What is to be done to a film that came, so that it is as the options want it: a pure decision about what is in it."""

from __future__ import annotations

import re

from msgspec import Struct

from proto.job import AudioCodec, Container, Options, VideoCodec
from services.job.engines.options import AUDIO, CONTAINERS, SOUND_ONLY, VIDEO, Format, wanted_audio

_STREAM = re.compile(r"^\s*Stream #\d+:\d+.*?: (Video|Audio): (\w+)(.*)$", re.MULTILINE)
_SIZE = re.compile(r"\b(\d{2,5})x(\d{2,5})\b")
_INPUT = re.compile(r"^Input #0, ([\w,]+), from", re.MULTILINE)
_DURATION = re.compile(r"Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
SLACK = 0.5
"""Seconds by which a recording may be longer than asked before it is cut."""


class BadClip(ValueError):
    """The clip begins where the film has ended."""


class NoSound(ValueError):
    """There is no sound in it."""


class Content(Struct, frozen=True, kw_only=True):
    """`demuxers` and codecs by ffmpeg's names, sizes in pixels, `duration` in seconds."""

    demuxers: frozenset[str] = frozenset()
    video: str | None = None
    width: int = 0
    height: int = 0
    sounds: tuple[str, ...] = ()
    mono: bool = False
    duration: float | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """Arguments before the input and after it, and the ending of what comes out."""

    suffix: Container
    before: tuple[str, ...]
    after: tuple[str, ...]


def read_content(said: str) -> Content:
    """Of what `ffmpeg -i` says. A cover picture is no film."""
    found: dict[str, object] = {}
    sounds: list[str] = []
    if box := _INPUT.search(said):
        found["demuxers"] = frozenset(box[1].split(","))
    if at := _DURATION.search(said):
        found["duration"] = int(at[1]) * 3600 + int(at[2]) * 60 + float(at[3])
    for kind, codec, rest in _STREAM.findall(said):
        if kind == "Audio":
            sounds.append(codec)
            found["mono"] = bool(found.get("mono")) or ", mono" in rest
        elif "attached pic" not in rest and "video" not in found:
            found["video"] = codec
            if size := _SIZE.search(rest):
                found["width"], found["height"] = int(size[1]), int(size[2])
    return Content(**found, sounds=tuple(sounds))  # type: ignore[arg-type]  # each by its name above


def plan(options: Options, content: Content, suffix: str, *, live: bool = False) -> Plan | None:
    """None leaves the file as it came. Raises BadClip, NoSound."""
    if (not content.sounds and content.video is None) or (not content.sounds and content.duration is None):
        return None  # a picture, an archive: nothing that these options speak of
    if options.audio_only and not content.sounds:
        raise NoSound
    before, length = _cut(options, content, live=live)
    anew = bool(before)
    """Only a film that is encoded anew can begin at any moment."""
    film = content.video if not options.audio_only else None
    scale = _too_large(options, content) if film else None
    container = _container(options, content, suffix)
    found = CONTAINERS[container]
    video = _video(options, film, found, anew=anew or scale is not None)
    audio = _audio(options, content.sounds, found, anew=anew)
    as_it_is = video is None and audio is None and not before and not length and (film or not content.video)
    changed = suffix != container and container in (options.container, options.preferred_container)
    if as_it_is and not changed and _is(content, container, options):
        return None
    picture = ["-map", "0:V:0", *_encode_video(options, video, scale, content)] if film else ["-vn"]
    sounds = "0:a:0" if container in SOUND_ONLY else "0:a?"
    if film and "h265" in (video, film.replace("hevc", "h265") if video is None else "") and found.flags:
        picture += ["-tag:v", "hvc1"]  # under its other name half of the players do not know it
    return Plan(
        suffix=container,
        before=before,
        after=(
            *picture,
            *("-map", sounds, *_encode_audio(options, audio, content)),
            *("-sn", "-dn", *length, *found.flags, "-f", found.muxer),
        ),
    )


def _is(content: Content, container: Container, options: Options) -> bool:
    """Endings lie; where one was asked for, the file itself is believed."""
    return options.container is None or CONTAINERS[container].demuxer in content.demuxers


def _container(options: Options, content: Content, suffix: str) -> Container:
    if options.audio_only:
        return wanted_audio(options)
    if options.container:
        return options.container
    own: Container | None = next((name for name in CONTAINERS if name == suffix), None)
    sounds = {AUDIO[options.audio_codec].codec} if options.audio_codec != "copy" else set(content.sounds)
    if content.video is None:
        return own if own and sounds <= CONTAINERS[own].audio else wanted_audio(options)
    wanted = VIDEO[options.video_codec].codec if options.video_codec != "copy" else content.video
    preferred = options.preferred_container
    if preferred and wanted in CONTAINERS[preferred].video and sounds <= CONTAINERS[preferred].audio:
        return preferred
    if own and wanted in CONTAINERS[own].video and sounds <= CONTAINERS[own].audio:
        return own
    home: Container = VIDEO[options.video_codec].home if options.video_codec != "copy" else "mp4"
    return home if sounds <= CONTAINERS[home].audio and wanted in CONTAINERS[home].video else "mkv"


def _cut(options: Options, content: Content, *, live: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    start, end = options.clip_start or 0.0, options.clip_end
    if content.duration is not None and start >= content.duration:
        raise BadClip
    too_long = content.duration is None or content.duration > (options.max_duration or 0) + SLACK
    if live and options.max_duration and too_long:
        end = min(end or options.max_duration, float(options.max_duration))
    before = ("-ss", f"{start:.3f}") if start else ()
    return before, (("-t", f"{end - start:.3f}") if end is not None else ())


def _too_large(options: Options, content: Content) -> int | None:
    """Pixels of the shorter side, even because encoders want it so."""
    if options.max_height and min(content.width, content.height) > options.max_height:
        return options.max_height // 2 * 2
    return None


def _video(options: Options, film: str | None, found: Format, *, anew: bool) -> VideoCodec | None:
    """The codec to encode with; None copies."""
    if film is None:
        return None
    if options.video_codec != "copy":
        same = film == VIDEO[options.video_codec].codec and options.video_crf is None
        return None if same and not anew else options.video_codec
    if film in found.video and not anew:
        return None
    own = next((name for name, one in VIDEO.items() if one.codec == film and film in found.video), None)
    return own or found.else_video


def _audio(options: Options, sounds: tuple[str, ...], found: Format, *, anew: bool) -> AudioCodec | None:
    if not sounds:
        return None
    if options.audio_codec != "copy":
        same = set(sounds) == {AUDIO[options.audio_codec].codec} and options.audio_bitrate is None
        return None if same and not anew else options.audio_codec
    if set(sounds) <= found.audio and not anew:
        return None
    own = next((name for name, one in AUDIO.items() if {one.codec} == set(sounds) and one.codec in found.audio), None)
    return own or found.else_audio


def _encode_video(options: Options, codec: VideoCodec | None, scale: int | None, content: Content) -> list[str]:
    if codec is None:
        return ["-c:v", "copy"]
    encoder = VIDEO[codec]
    size = "trunc(iw/2)*2:trunc(ih/2)*2"
    if scale:
        size = f"-2:{scale}" if content.height <= content.width else f"{scale}:-2"
    pixels = "yuv420p" if codec == "h264" else "yuv420p|yuv420p10le"
    quality = encoder.usual if options.video_crf is None else min(options.video_crf, encoder.most)
    tag = encoder.arguments
    return [*tag, "-crf", str(quality), "-vf", f"scale={size},format={pixels}"]


def _encode_audio(options: Options, codec: AudioCodec | None, content: Content) -> list[str]:
    if codec is None:
        return ["-c:a", "copy"]
    encoder = AUDIO[codec]
    most = min(encoder.most, 256) if content.mono else encoder.most
    return [*encoder.arguments, "-b:a", f"{min(options.audio_bitrate or encoder.usual, most)}k"]
