"""What people are told, in their language. No program needs to read it: that is what the numbers are for."""

from __future__ import annotations

from typing import Literal

Language = Literal["en", "zh-Hant"]

TEXTS: dict[int | str, dict[Language, str]] = {
    1: {"en": "The API key is missing or not valid.", "zh-Hant": "缺少 API 金鑰，或金鑰無效。"},
    2: {"en": "This account can not be used.", "zh-Hant": "此帳戶目前無法使用。"},
    52: {"en": "There is not enough traffic left for this file.", "zh-Hant": "剩餘流量不足以下載此檔案。"},
    54: {"en": "The 24 hour limit of this host is reached.", "zh-Hant": "此網域已達 24 小時用量上限。"},
    55: {"en": "Too many files of this host are fetched at once.", "zh-Hant": "此平台同時下載的檔案過多。"},
    56: {"en": "All slots of this host are taken.", "zh-Hant": "此平台的下載名額已滿。"},
    101: {"en": "This address or host is not supported.", "zh-Hant": "不支援此網址或網域。"},
    102: {"en": "This file or its source is banned.", "zh-Hant": "此檔案或來源已被封鎖。"},
    103: {
        "en": "This file is private, or its uploader wants to be paid.",
        "zh-Hant": "此檔案為私人檔案，或須向上傳者付費。",
    },
    104: {"en": "The file is offline or was not found.", "zh-Hant": "檔案已離線或不存在。"},
    105: {
        "en": "The host is down for the moment; try again later.",
        "zh-Hant": "服務維護中或上游暫時無法使用，請稍後再試。",
    },
    106: {"en": "The host answered with an error.", "zh-Hant": "上游服務發生錯誤。"},
    107: {"en": "No account can fetch this at the moment.", "zh-Hant": "目前沒有可用的帳號流量，請稍後再試。"},
    900: {"en": "The request is not valid.", "zh-Hant": "請求內容無效。"},
    999: {"en": "Internal error.", "zh-Hant": "內部錯誤。"},
    "url": {
        "en": "The body must be a JSON object with a url of at most 8192 characters.",
        "zh-Hant": "請求內容必須為 JSON 物件，且須包含不超過 8192 個字元的 url。",
    },
    "link": {"en": "There is no such link; ask for it anew.", "zh-Hant": "找不到此連結，請重新建立。"},
    "path": {"en": "There is no such call.", "zh-Hant": "沒有這個 API。"},
    "method": {"en": "This call has another method.", "zh-Hant": "此 API 不支援這個請求方法。"},
    "size": {"en": "The body is too large.", "zh-Hant": "請求內容過大。"},
}


def language(accepted: str | None) -> Language:
    """The better liked of the two in an `Accept-Language` header; any Chinese is answered in the one we have."""
    liked: dict[Language, float] = {"en": 0.0, "zh-Hant": 0.0}
    for one in (accepted or "").split(","):
        tag, *parameters = (piece.strip() for piece in one.split(";"))
        weight = next((_weight(piece[2:]) for piece in parameters if piece.startswith("q=")), 1.0)
        primary = tag.lower().partition("-")[0]
        if primary == "zh":
            liked["zh-Hant"] = max(liked["zh-Hant"], weight)
        elif primary == "en":
            liked["en"] = max(liked["en"], weight)
    return "zh-Hant" if liked["zh-Hant"] > liked["en"] else "en"


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
