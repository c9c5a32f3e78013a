"""The one table from the closed vocabulary of `proto.job.Options` to what the engines are told.

Only numbers within bounds and choices that are listed here get beyond this file: nothing of a user becomes a parameter,
a path, a format string or a word of a command line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import Struct, inspect

from proto.job import AudioCodec, Container, Options, VideoCodec

ORDINARY_KBITS = 192
"""kbit/s of sound that is encoded anew and for which nothing was asked."""
SUBTITLES = ("srt", "vtt")
"""Endings under which subtitles are handed over; what a site has in another form is made into the first."""
WAIT = (1, 60)
"""Seconds between two looks for a stream that has not begun: the first pause, and the longest."""


class Format(Struct, frozen=True, kw_only=True):
    """A container: the codecs, as ffmpeg names them, that it takes as they are, and what is made of others."""

    demuxer: str
    muxer: str
    video: frozenset[str] = frozenset()
    audio: frozenset[str]
    else_video: VideoCodec = "h264"
    else_audio: AudioCodec
    flags: tuple[str, ...] = ()


class Encoder(Struct, frozen=True, kw_only=True):
    """`codec` is ffmpeg's name of what `arguments` make; `most` the highest quality number or kbit/s it accepts."""

    codec: str
    arguments: tuple[str, ...]
    home: Container
    """Where it goes when the file's own container does not take it and none was asked for."""
    usual: int
    most: int


_FAST = ("-movflags", "+faststart")
_MP4_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"})
_MKV_AUDIO = _MP4_AUDIO | {"vorbis", "pcm_s16le", "dts", "mp2"}
CONTAINERS: dict[Container, Format] = {
    "mp4": Format(
        demuxer="mp4",
        muxer="mp4",
        video=frozenset({"h264", "hevc", "av1", "vp9", "mpeg4"}),
        audio=_MP4_AUDIO,
        else_audio="aac",
        flags=_FAST,
    ),
    "mov": Format(
        demuxer="mov",
        muxer="mov",
        video=frozenset({"h264", "hevc", "mpeg4", "prores"}),
        audio=frozenset({"aac", "mp3", "ac3", "alac", "pcm_s16le"}),
        else_audio="aac",
        flags=_FAST,
    ),
    "mkv": Format(
        demuxer="matroska",
        muxer="matroska",
        video=frozenset({"h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mpeg2video", "theora"}),
        audio=_MKV_AUDIO,
        else_audio="aac",
    ),
    "webm": Format(
        demuxer="webm",
        muxer="webm",
        video=frozenset({"vp9", "vp8", "av1"}),
        audio=frozenset({"opus", "vorbis"}),
        else_video="vp9",
        else_audio="opus",
    ),
    "m4a": Format(demuxer="m4a", muxer="ipod", audio=frozenset({"aac", "alac"}), else_audio="aac", flags=_FAST),
    "mp3": Format(demuxer="mp3", muxer="mp3", audio=frozenset({"mp3"}), else_audio="mp3"),
    "ogg": Format(demuxer="ogg", muxer="ogg", audio=frozenset({"opus", "vorbis"}), else_audio="opus"),
    "opus": Format(demuxer="ogg", muxer="opus", audio=frozenset({"opus"}), else_audio="opus"),
}
VIDEO: dict[VideoCodec, Encoder] = {
    "h264": Encoder(codec="h264", arguments=("-c:v", "libx264", "-preset", "fast"), home="mp4", usual=23, most=51),
    "h265": Encoder(
        codec="hevc",
        arguments=("-c:v", "libx265", "-preset", "fast", "-x265-params", "log-level=error:pools=4"),
        home="mp4",
        usual=28,
        most=51,
    ),
    "vp9": Encoder(
        codec="vp9",
        arguments=("-c:v", "libvpx-vp9", "-deadline", "good", "-cpu-used", "4", "-row-mt", "1", "-b:v", "0"),
        home="webm",
        usual=31,
        most=63,
    ),
}
AUDIO: dict[AudioCodec, Encoder] = {
    "aac": Encoder(codec="aac", arguments=("-c:a", "aac"), home="m4a", usual=ORDINARY_KBITS, most=512),
    "opus": Encoder(
        codec="opus",
        # The encoder knows no other orders of loudspeakers.
        arguments=("-c:a", "libopus", "-af", "aformat=channel_layouts=7.1|5.1|stereo|mono"),
        home="opus",
        usual=ORDINARY_KBITS,
        most=512,
    ),
    "mp3": Encoder(codec="mp3", arguments=("-c:a", "libmp3lame"), home="mp3", usual=ORDINARY_KBITS, most=320),
}
SOUND_ONLY = frozenset(name for name, one in CONTAINERS.items() if not one.video)


def conflict(options: Options) -> str | None:
    """Why no file can be as these options want it, in words for the user. None when one can."""
    found = CONTAINERS[options.container] if options.container else None
    if options.container in SOUND_ONLY and not options.audio_only:
        return f"{options.container} holds sound alone: ask for audio only"
    if found and options.audio_codec != "copy" and AUDIO[options.audio_codec].codec not in found.audio:
        return f"{options.container} does not hold {options.audio_codec}"
    picture = options.video_codec != "copy" and not options.audio_only
    if found and picture and VIDEO[options.video_codec].codec not in found.video:
        return f"{options.container} does not hold {options.video_codec}"
    if options.clip_end is not None and options.clip_end <= (options.clip_start or 0):
        return "a clip ends after it begins"
    if options.stop_at_known is not None and options.archive is None:
        return "what is known is in the archive: ask for that as well"
    return None


def shapes_media(options: Options) -> bool:
    """Whether a film or a sound may have to be made into another one than the server has."""
    return (
        options.audio_only
        or options.container is not None
        or (options.video_codec, options.audio_codec) != ("copy", "copy")
        or options.audio_bitrate is not None
        or options.video_crf is not None
        or bool(options.clip_start)
        or options.clip_end is not None
    )


def wanted_audio(options: Options) -> Container:
    """Of sound alone, where no container was asked for."""
    return options.container or (AUDIO[options.audio_codec].home if options.audio_codec != "copy" else "m4a")


def endings(found: str, options: Options) -> tuple[str, ...]:
    """What a film or a sound that a site has with the ending `found` may have when it is stored; none where only the
    file itself will tell."""
    if options.container is not None or options.audio_only:
        return (options.container or wanted_audio(options),)
    if shapes_media(options):
        return ()
    return (found, options.preferred_container) if options.preferred_container else (found,)


def ytdlp_parameters(options: Options) -> dict[str, Any]:
    """`format` is not among them: it is `ytdlp_format`, for yt-dlp reads it once."""
    parameters: dict[str, Any] = {
        "playlistend": options.max_items,
        "noplaylist": options.max_items is None,
        "format_sort": _sorting(options),
        "live_from_start": options.live_from_start,
        # In order, one by one: what follows the last item that is wanted is not even looked up.
        "lazy_playlist": options.stop_at_known is not None,
    }
    if options.subtitles:
        parameters |= {
            "writesubtitles": True,
            "subtitleslangs": ["all", "-live_chat"],
            "subtitlesformat": "/".join((*SUBTITLES, "best")),
        }
    if options.thumbnail:
        parameters["writethumbnail"] = True
    if options.record_live and options.wait_for_live:
        parameters["wait_for_video"] = WAIT
    return parameters


def ytdlp_format(options: Options) -> str:
    return "ba/b" if options.audio_only else "bv*+ba/b"


def _sorting(options: Options) -> list[str]:
    """What comes first of what a site offers. `res` is the shorter side; what exceeds the number comes last. Codecs
    that need no encoding are preferred among pictures of one size."""
    fields = [f"res:{options.max_height}" if options.max_height and not options.audio_only else "res"]
    found = CONTAINERS[wanted_audio(options)] if options.audio_only else CONTAINERS.get(options.container or "mkv")
    asked = options.container is not None or options.audio_only
    video = options.video_codec if options.video_codec != "copy" else found.else_video if found and asked else None
    audio = options.audio_codec if options.audio_codec != "copy" else found.else_audio if found and asked else None
    if video and not options.audio_only and options.container != "mkv":
        fields.append(f"vcodec:{video}")
    if audio and options.container != "mkv":
        fields.append(f"acodec:{audio}")
    return ["lang", *fields] if fields != ["res"] else []


def gallery_extractor(options: Options, *, own: int) -> dict[str, Any]:
    """`own`: how many of the known items this very job stored, at an earlier attempt. They are not what the user had
    before, so the run of known items is longer by them."""
    settings: dict[str, Any] = {"skip": True}
    if options.max_items:
        settings["file-range"] = f"1-{options.max_items}"
    if options.stop_at_known:
        settings["skip"] = f"abort:{options.stop_at_known + own}"
    return settings


EFFECTS: dict[str, tuple[str, str, str]] = {
    "preset": ("becomes other options", "becomes other options", "becomes other options"),
    "engine": ("the only one asked", "the only one asked", "the only one asked"),
    "audio_only": ("`ba/b`, sound taken out by ffmpeg", "-", "hands over to yt-dlp"),
    "max_height": ("`res:N` sort; scaled down when all are larger", "-", "-"),
    "directory": ("storage's", "storage's", "storage's"),
    "filename": ("storage's", "storage's", "storage's"),
    "webhook_url": ("notifier's", "notifier's", "notifier's"),
    "progress_webhook": ("notifier's", "notifier's", "notifier's"),
    "target_id": ("storage's", "storage's", "storage's"),
    "fallback_urls": ("the job's", "the job's", "the job's"),
    "max_items": ("`playlistend`", "`file-range`", "one item"),
    "container": ("remux, or encoding of what it does not take", "-", "hands over media to yt-dlp"),
    "preferred_container": ("remux, of what it takes as it is", "-", "-"),
    "video_codec": ("preferred, else encoded", "-", "hands over media to yt-dlp"),
    "audio_codec": ("preferred, else encoded", "-", "hands over media to yt-dlp"),
    "audio_bitrate": ("`-b:a`, where sound is encoded", "-", "hands over media to yt-dlp"),
    "video_crf": ("`-crf`, where the picture is encoded", "-", "hands over media to yt-dlp"),
    "subtitles": ("all languages, else the automatic ones of its own", "-", "-"),
    "thumbnail": ("`writethumbnail`", "-", "-"),
    "clip_start": ("cut by ffmpeg to the frame", "-", "hands over media to yt-dlp"),
    "clip_end": ("cut by ffmpeg", "-", "hands over media to yt-dlp"),
    "record_live": ("live streams are taken", "-", "-"),
    "live_from_start": ("`live_from_start`, else from the first piece there is", "-", "-"),
    "wait_for_live": ("`wait_for_video`; a manifest that is not there yet", "-", "-"),
    "max_duration": ("`-t` of the recording", "-", "-"),
    "sidecars": ("facts of the item as JSON", "`metadata` as JSON", "facts of the answer as JSON"),
    "archive": ("`download_archive`; one film of a page is fetched", "`archive`", "fetched"),
    "stop_at_known": ("playlist ends", "`skip: abort:N`", "-"),
    "labels": ("never read", "never read", "never read"),
}
"""What each option does in yt-dlp, gallery-dl and http; for people, and complete by a test."""


def markdown() -> str:
    """The table for the documentation."""
    rows = ["| option | values | yt-dlp | gallery-dl | http |", "|---|---|---|---|---|"]
    kinds = {field.encode_name: field.type for field in inspect.type_info(Options).fields}  # type: ignore[attr-defined]  # of a struct
    rows += [f"| `{name}` | {_values(kinds[name])} | {' | '.join(effects)} |" for name, effects in EFFECTS.items()]
    return "\n".join(rows) + "\n"


def _values(kind: inspect.Type) -> str:
    match kind:
        case inspect.UnionType(types=kinds):
            return ", ".join(_values(one) for one in kinds if not isinstance(one, inspect.NoneType))
        case inspect.LiteralType(values=values):
            return ", ".join(f"`{one}`" for one in values)
        case inspect.IntType(ge=least, le=most) | inspect.FloatType(ge=least, le=most):
            return f"{least} to {most}" if most is not None else "a number"
        case inspect.StrType(max_length=most):
            return f"text of at most {most}"
        case inspect.VarTupleType(item_type=item, max_length=most):
            return (
                f"at most {most}: {_values(item)}"
                if not isinstance(item, inspect.StrType) or item.max_length
                else (f"at most {most} texts")
            )
        case _:
            return {inspect.BoolType: "true, false", inspect.UUIDType: "an id", inspect.DictType: "texts by name"}[
                type(kind)
            ]


DOCUMENT = Path(__file__).parents[1] / "OPTIONS.md"


def document() -> str:
    """All of the file beside the job service."""
    return f"""# Options of a download

What may be asked for one link, and what becomes of it in each engine; the dialects map their words onto these.
Generated from `services/job/engines/options.py` by `just options`; a test compares.

{markdown()}"""


if __name__ == "__main__":
    DOCUMENT.write_text(document(), "utf-8")
