"""What is read of a request before a model is chosen: a glance at the last user turn and a few counts.

Nothing past the first 1,000 and the last 500 characters of the last user turn is looked at; of the rest only the length
is known. Two things are made of the glance: rows of a hash table (one per distinct word and pair of neighbours), whose
learnt vectors are summed later, and readable figures. None of them depends on the case of a letter or on doubled
spaces, so that nobody's choice flips when a question is shouted. Cheap on purpose: one regular expression, then
`str.count` and `bytes.translate`; a window with many alternatives costs 100 us per 1,500 characters.
"""

import math
import re
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import msgspec
import numpy as np
import orjson

from routing.providers.base import ChatRequest

HEAD_CHARACTERS = 1_000
TAIL_CHARACTERS = 500
HASH_BITS = 15  # words and pairs share one table of 2**15 rows
TOOLS_READ_MOST = 32
TOOL_CHARACTERS_READ_MOST = 1_000
KEPT_WORDS_MOST = 100_000  # words (never prompts) whose hash is remembered
KEPT_WORD_CHARACTERS = 32
FEW_WORDS = 24
DIGITS_TOLD_APART = 6

_words = re.compile(r"[^\W\d_]+|\d+").findall  # a run of letters, or a run of digits
_wh_start = re.compile(
    r"\s*(?:wh(?:o|at|ich|en|ere|y|om|ose)|how|is|are|do|does|did|can|in which)\b", re.IGNORECASE
).match
_definition_start = re.compile(r"\s*(?:def |from |import |class )", re.IGNORECASE).match
_CODE_MARKS = ("()", "=>", "::", ";\n", ">>>", "{\n", "\n    ", "def ", "import ", "return ", "```", "</", "#include")
_CHOICE_MARKS = tuple(
    (f"\n{c}.", f"\n{c})", f"({c})", f" {c})", f" {c}. ", f"\n({c})", f"\n{c}:") for c in ("b", "c", "d")
)
_DIGITS = b"0123456789"
_FIRST = 0x9E3779B1  # stands before the first word, so that an opening verb has a row of its own
_LEFT, _RIGHT = 0x85EBCA6B, 0xC2B2AE35  # odd multipliers: MurmurHash3's finalizer
_MIX_SHIFT, _ROW_SHIFT, _ROW_MASK, _WORD_MASK = 17, 7, (1 << HASH_BITS) - 1, (1 << 64) - 1
_hashes: dict[str, int] = {}

FIGURES = (
    *("log_characters", "log_characters_squared", "ends_with_question", "questions", "digit_share", "numbers"),
    *("code", "code_fence", "definition_start", "formula", "lines", "answer_choices", "ends_with_answer", "blank"),
    *("commas", "foreign_script", "ends_with_stop", "question_word_start", "quotes", "word_length", "listings"),
    *("sentences", "log_tools", "log_schema", "log_turns"),
)


class Question(msgspec.Struct, frozen=True):
    """All that the choice knows of a request's content; `text` is the glance, never the whole prompt.

    `chars` counts the whole last user turn; `turns` the user's turns; `tool_words` hashes words of the tools' names and
    descriptions, None without tools; `schema_bytes` is the tools' size as JSON; `hint` is the caller's task type.
    """

    text: str
    chars: int
    turns: int = 1
    tools: int = 0
    tool_words: frozenset[int] | None = None
    schema_bytes: int = 0
    has_images: bool = False
    hint: str | None = None


class Words(msgspec.Struct, frozen=True):
    """A glance in lower case, cut into words once for all who read it."""

    lower: str
    words: list[str]
    hashes: list[int]


def read_question(chat: ChatRequest, hint: str | None = None) -> Question:
    """What a validated chat request asks, from its last user turn."""
    turns, last = 0, None
    for message in reversed(chat.messages):
        if message.get("role") == "user":
            turns += 1
            last = last or message
    text, characters, has_images = _read_content(last.get("content") if last else None)
    tools = _functions(chat.parameters)
    return Question(
        text=text,
        chars=characters,
        turns=max(turns, 1),
        tools=len(tools),
        tool_words=_tool_words(tools[:TOOLS_READ_MOST]) if tools else None,
        schema_bytes=_schema_bytes(tools),
        has_images=has_images,
        hint=hint,
    )


def question_of(text: str, **more: Any) -> Question:
    """A question that is one text, as the evaluation and tests ask it."""
    return Question(text=glance(text), chars=len(text), **more)


def glance(text: str) -> str:
    """The first 1,000 and the last 500 characters of a longer text."""
    if len(text) <= HEAD_CHARACTERS + TAIL_CHARACTERS:
        return text
    return text[:HEAD_CHARACTERS] + "\n" + text[-TAIL_CHARACTERS:]


def words_of(text: str) -> Words:
    """Words of a glance with their hashes; a number counts by its digits only: 37 and 42 are one word."""
    lower = text.lower()
    words = _words(lower)
    known = _hashes.get
    return Words(lower, words, [known(word) or _hash(word) for word in words])


def table_rows(hashes: Sequence[int]) -> np.ndarray:
    """Distinct rows (int64) of the hash table for these words and their pairs, in no particular order."""
    if len(hashes) <= FEW_WORDS:
        return np.array(list(_few_rows(hashes)), np.int64)
    values = np.array([_FIRST, *hashes], np.uint64)
    pairs = values[:-1] * np.uint64(_LEFT) + values[1:] * np.uint64(_RIGHT)  # wraps around, as it should
    pairs ^= pairs >> np.uint64(_MIX_SHIFT)
    rows = (np.concatenate((values[1:], pairs)) >> np.uint64(_ROW_SHIFT)) & np.uint64(_ROW_MASK)
    return np.array(list(set(rows.tolist())), np.int64)


def _few_rows(hashes: Sequence[int]) -> set[int]:
    """The same without a call of numpy, each of which costs as much as three words do here."""
    rows = set()
    before = _FIRST
    for value in hashes:
        pair = (before * _LEFT + value * _RIGHT) & _WORD_MASK
        rows.add(value >> _ROW_SHIFT & _ROW_MASK)
        rows.add((pair ^ pair >> _MIX_SHIFT) >> _ROW_SHIFT & _ROW_MASK)
        before = value
    return rows


def figures_of(question: Question, read: Words) -> tuple[float, ...]:
    """The readable figures in the order of `FIGURES`, each of a size around 1."""
    text, lower, words = question.text, read.lower, read.words
    count = lower.count
    stripped = lower.strip()
    blank = len(lower) - len(stripped) + stripped.count(" ")
    inked = (len(lower) - blank) or 1  # doubled spaces and those around the text change nothing
    utf8 = lower.encode("utf-8", "surrogatepass")
    digits = len(utf8) - len(utf8.translate(None, _DIGITS))
    last = stripped[-1:]
    log_characters = math.log1p(question.chars * inked / (len(text) or 1))
    code = sum(map(count, _CODE_MARKS))
    commas = count(",")
    numbers = sum(map(str.isdigit, words)) if digits else 0
    formula = count("$") // 2 + count("\\") + count("^") + count("=") + count("*")
    return (
        log_characters,
        (log_characters - 5.5) ** 2,
        last == "?",
        min(count("?"), 4) ** 0.5,
        min(digits / inked, 0.3) * 3,
        min(numbers, 9) ** 0.5,
        min(code, 12) ** 0.5 / 2,
        "```" in lower,
        _definition_start(lower) is not None,
        min(formula, 9) ** 0.5 / 2,
        math.log1p(stripped.count("\n")),
        sum(1.0 for marks in _CHOICE_MARKS if any(map(lower.__contains__, marks))),
        stripped.endswith("answer:"),
        "___" in lower or "_ " in lower,
        min(commas / (len(words) or 1), 1.0),
        min((len(utf8) - len(lower)) / inked, 2.0),
        last == ".",
        _wh_start(lower) is not None,
        min(count('"') + count("'"), 8) ** 0.5 / 2,
        min(inked / (len(words) or 1), 12.0) / 5,
        min(count(" and ") + commas, 8) ** 0.5,
        math.log1p(stripped.count(". ") + stripped.count("? ") + stripped.count(".\n")),
        math.log1p(question.tools),
        math.log1p(question.schema_bytes / 4),
        math.log1p(question.turns),
    )


def _hash(word: str) -> int:
    counted = b"#%d" % min(len(word), DIGITS_TOLD_APART) if word[0].isdigit() else word.encode("utf-8", "surrogatepass")
    value = crc32(counted)
    if len(_hashes) < KEPT_WORDS_MOST and len(word) < KEPT_WORD_CHARACTERS:
        _hashes[word] = value
    return value


def _read_content(content: Any) -> tuple[str, int, bool]:
    """Glance, characters and whether there are images, of a turn's content: text or parts."""
    if type(content) is str:
        return glance(content), len(content), False
    texts: list[str] = []
    has_images = False
    for part in content if type(content) is list else ():
        kind = part.get("type") if type(part) is dict else None
        if kind == "text" and type(part.get("text")) is str:
            texts.append(part["text"])
        elif kind in ("image_url", "image", "input_image"):
            has_images = True
    return _glance_at(texts), sum(map(len, texts)) + max(len(texts) - 1, 0), has_images


def _glance_at(texts: list[str]) -> str:
    """As `glance("\n".join(texts))`, without joining what nobody looks at."""
    if sum(map(len, texts)) + len(texts) <= HEAD_CHARACTERS + TAIL_CHARACTERS:
        return "\n".join(texts)
    head = _joined(texts, HEAD_CHARACTERS)[:HEAD_CHARACTERS]
    backwards = [text[: -TAIL_CHARACTERS - 1 : -1] for text in reversed(texts[-TAIL_CHARACTERS:])]
    return head + "\n" + _joined(backwards, TAIL_CHARACTERS)[TAIL_CHARACTERS - 1 :: -1]


def _joined(texts: list[str], characters: int) -> str:
    """At least so many characters of the joined texts, where there are so many."""
    taken: list[str] = []
    for text in texts:
        taken.append(text[:characters])
        characters -= len(text) + 1
        if characters <= 0:
            break
    return "\n".join(taken)


def _functions(parameters: dict[str, Any]) -> list[Any]:
    """The tools of a request, in the present and in the legacy form."""
    tools = parameters.get("tools") or parameters.get("functions") or ()
    return [tool.get("function", tool) if type(tool) is dict else {} for tool in tools]


def _schema_bytes(tools: list[Any]) -> int:
    """Size of the tools as JSON; of many tools, that of the first ones, scaled."""
    if not tools:
        return 0
    read = tools[:TOOLS_READ_MOST]
    return len(orjson.dumps(read)) * len(tools) // len(read)


def _tool_words(tools: list[Any]) -> frozenset[int]:
    """Hashes of the words of names and beginnings of descriptions; "get_weather" is two words."""
    characters = TOOL_CHARACTERS_READ_MOST // len(tools)
    parts = [f"{tool.get('name', '')} {tool.get('description') or ''}"[:characters] for tool in tools]
    return frozenset(words_of(" ".join(parts)).hashes)
