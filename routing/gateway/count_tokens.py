"""Counting the input where its byte bound is too coarse; blocking, so it runs in a thread.

The tokenizer is OpenAI's o200k. Other makers' differ, so 15 % are added; images and other media are counted at a flat
figure each. A bound, not a bill: the bill is what the provider reports.
"""

from collections.abc import Iterable
from typing import Any

import bpe_openai
import orjson

MARGIN_PERCENT = 15
TOKENS_PER_MEDIUM = 3_000  # the dearest detail setting of the common vision models stays below this
TOKENS_PER_MESSAGE = 8
READ_BY_THE_MODEL = ("tools", "functions", "response_format", "prediction")
MEDIA_NEEDS = frozenset({"vision", "audio", "files"})
TEXT_CHARACTERS = 40_000  # the tokenizer refuses more than 200,000 tokens at once; a character is 4 bytes at most
MEDIA_KEYS = ("image_url", "input_audio", "file")

_tokenizer = bpe_openai.get_encoding("o200k_base")


def count_media(messages: Iterable[dict[str, Any]]) -> int:
    """How many images, recordings and files the messages hold."""
    return sum(
        part.get("type") in MEDIA_KEYS
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


def bound_tokens(messages: Iterable[dict[str, Any]], parameters: dict[str, Any]) -> int:
    """At least as many tokens as any common tokenizer makes of this input."""
    texts: list[str] = []
    media = 0
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            readable = [part for part in content if part.get("type") not in MEDIA_KEYS]
            media += len(content) - len(readable)
            texts += [part.get("text") or orjson.dumps(part).decode() for part in readable]
        elif isinstance(content, str):
            texts.append(content)
        rest = {key: value for key, value in message.items() if key not in {"content", "role"}}
        if rest:
            texts.append(orjson.dumps(rest).decode())
    written = {name: parameters[name] for name in READ_BY_THE_MODEL if name in parameters}
    if written:
        texts.append(orjson.dumps(written).decode())
    tokens = sum(map(_count, texts)) + TOKENS_PER_MESSAGE * len(texts)
    return tokens * (100 + MARGIN_PERCENT) // 100 + 1 + media * TOKENS_PER_MEDIUM


def _count(text: str) -> int:
    """In pieces where it is long: a cut through a word makes a token more, never one less."""
    pieces = (text[start : start + TEXT_CHARACTERS] for start in range(0, len(text), TEXT_CHARACTERS))
    return sum(len(_tokenizer.encode_ordinary(piece)) for piece in pieces)
