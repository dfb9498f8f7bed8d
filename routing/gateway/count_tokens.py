"""Counting the input where its byte bound is too coarse; blocking, so it runs in a thread.

Nobody but the provider knows the tokenizer of a model, and who writes the prompt chooses what is hard for it. So the
bound is the higher of two counts. One is of OpenAI's o200k, with a margin, for text that is dense in any tokenizer.
The other goes by the shape of the text, as a small vocabulary would: four letters of a word are a token, and so is
every digit, mark and byte beyond ASCII, of which o200k takes many at once. Images and other media are counted at
what the largest one comes to, by the model. A bound, not a bill: the bill is what the provider reports.
"""

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from bpe_openai import Encoding

MARGIN_PERCENT = 15
LETTERS_PER_TOKEN = 4
LIKELY_TOKENS_PER_MEDIUM = 3_000  # what most models make of a large picture, or less
TOKENS_PER_MEDIUM = 16_384  # at most, where no row tells: the most that Qwen's models cut a picture into
# The largest picture at its dearest detail, as the makers publish it, by how the model's id begins; the longest wins.
TOKENS_PER_PICTURE = {
    "anthropic/": 4_784,  # 2,576 pixels at the longer side since Opus 4.7; 1,600 before
    "google/gemini-": 4_128,  # 16 tiles of 258
    "mistralai/": 3_300,  # 55 x 55 patches and their line ends
    "openai/gpt-4.1": 3_779,  # nano: 1,536 patches x 2.46
    "openai/gpt-4o": 1_445,  # 85 + 8 tiles x 170
    "openai/gpt-4o-mini": 48_169,  # 2,833 + 8 tiles x 5,667
    "openai/gpt-5-nano": 24_600,  # 10,000 patches x 2.46, as if it took `original`
    "openai/gpt-5.4-nano": 24_600,
    "x-ai/grok-": 1_792,  # 7 tiles of 256
}
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


@lru_cache(maxsize=4_096)
def tokens_per_medium(model_id: str) -> int:
    """What one picture comes to at most at this model."""
    lines = [line for line in TOKENS_PER_PICTURE if model_id.startswith(line)]
    return TOKENS_PER_PICTURE[max(lines, key=len)] if lines else TOKENS_PER_MEDIUM


def bound_tokens(messages: Iterable[dict[str, Any]], parameters: dict[str, Any]) -> int:
    """As many tokens as a common tokenizer makes of the text of this input, or more; media are not counted."""
    texts: list[str] = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            readable = [part for part in content if part.get("type") not in MEDIA_KEYS]
            texts += [part.get("text") or orjson.dumps(part).decode() for part in readable]
        elif isinstance(content, str):
            texts.append(content)
        rest = {key: value for key, value in message.items() if key not in {"content", "role"}}
        if rest:
            texts.append(orjson.dumps(rest).decode())
    written = {name: parameters[name] for name in READ_BY_THE_MODEL if name in parameters}
    if written:
        texts.append(orjson.dumps(written).decode())
    return sum(map(_bound, texts)) + TOKENS_PER_MESSAGE * len(texts) + TOKENS_PER_REQUEST


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
