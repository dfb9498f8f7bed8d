"""Counting the input where its byte bound is too coarse; blocking, so it runs in a thread.

Nobody but the provider knows the tokenizer of a model, and who writes the prompt chooses what is hard for it. So the
bound is the higher of two counts. One is of OpenAI's o200k, with a margin, for text that is dense in any tokenizer.
The other goes by the shape of the text, as a small vocabulary would: four letters of a word are a token, and so is
every digit, mark and byte beyond ASCII, of which o200k takes many at once. Images and other media are counted at a
flat figure each. A bound, not a bill: the bill is what the provider reports.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from bpe_openai import Encoding

MARGIN_PERCENT = 15
LETTERS_PER_TOKEN = 4
TOKENS_PER_MEDIUM = 3_000  # the dearest detail setting of the common vision models stays below this
TOKENS_PER_MESSAGE = 8
TOKENS_PER_REQUEST = 32  # a chat template may begin with a system prompt of its own
READ_BY_THE_MODEL = ("tools", "functions", "response_format", "prediction")
MEDIA_NEEDS = frozenset({"vision", "audio", "files"})
TEXT_CHARACTERS = 40_000  # the tokenizer refuses more than 200,000 tokens at once; a character is 4 bytes at most
MEDIA_KEYS = ("image_url", "input_audio", "file")
WORD = re.compile(rb"[A-Za-z]+")
LEADING_SPACE = re.compile(rb" (?=[A-Za-z])")  # every tokenizer makes it a part of the word


@cache
def tokenizer() -> "Encoding":
    """o200k. Its tables take half a second and 140 MB, and most processes never count: not at import."""
    import bpe_openai  # noqa: PLC0415 - see above

    return bpe_openai.get_encoding("o200k_base")


def count_media(messages: Iterable[dict[str, Any]]) -> int:
    """How many images, recordings and files the messages hold."""
    return sum(
        part.get("type") in MEDIA_KEYS
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


def media_bytes(messages: Iterable[dict[str, Any]]) -> int:
    """How much of a body the media themselves are, as data or as links; about, since JSON may write them longer."""
    return sum(
        len(text)
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
        if (kind := part.get("type")) in MEDIA_KEYS
        for text in part[kind].values()
        if isinstance(text, str)
    )


def bound_tokens(messages: Iterable[dict[str, Any]], parameters: dict[str, Any]) -> int:
    """As many tokens as a common tokenizer makes of this input, or more."""
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
    tokens = sum(map(_bound, texts)) + TOKENS_PER_MESSAGE * len(texts) + TOKENS_PER_REQUEST
    return tokens + media * TOKENS_PER_MEDIUM


def _bound(text: str) -> int:
    """In pieces where it is long: a cut through a word makes a token more, never one less."""
    pieces = [text[start : start + TEXT_CHARACTERS] for start in range(0, len(text), TEXT_CHARACTERS)]
    return sum(max(_dense(piece), _shaped(piece)) for piece in pieces)


def _dense(text: str) -> int:
    return -(-len(tokenizer().encode_ordinary(text)) * (100 + MARGIN_PERCENT) // 100)


def _shaped(text: str) -> int:
    data = text.encode()
    words = [len(word) for word in WORD.findall(data)]
    other = len(data) - sum(words) - len(LEADING_SPACE.findall(data))
    return other + sum(-(-letters // LETTERS_PER_TOKEN) for letters in words)
