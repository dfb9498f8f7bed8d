"""What kind of work a request is: a posterior over `TASKS`.

A lexicon of words and phrases (data/lexicon.json, written by hand from general knowledge of such requests) is looked up
in the first 40 and the last 25 words; marks of code, formulas, digits, answer choices, tools and images add to it, and
so does the caller's hint. No outcome and no labelled prompt was used: labels of examinations say nothing about chats. A
hint is a strong prior, not an order: it adds 3 on the logarithmic scale, and 2 to the kinds of work that the published
coarse values are meant to cover.
"""

import json
import re
from math import exp
from pathlib import Path

from routing.selection.features import Question, Words, words_of
from routing.selection.words import TASKS, task_named

LEXICON = Path(__file__).parent / "data" / "lexicon.json"
HINT = 3.0
HINT_TO_RELATED = 2.0
RELATED = {
    "writing": ("rewriting", "summarization", "translation", "roleplay"),
    "reasoning": ("math", "knowledge-qa", "data-extraction", "advice-planning"),
}
WORDS_READ = 40
LAST_WORDS_READ = 25
WORDS_IN_FULL = 12  # words at the very beginning count in full, later ones by 0.6
GREETING_WORDS = 3
SHORT_CHARACTERS = 1_500  # a longer text has digits and formulas for many reasons
START = {"other": 1.2, "writing": 0.5, "tool-use": -2.0, "vision": -2.0}

type _Scores = tuple[tuple[int, float], ...]  # (task, score) pairs

_INDEX = {task: i for i, task in enumerate(TASKS)}
_START = [START.get(task, 0.0) for task in TASKS]
_FORMULA_SIGNS = "$\\^=+*/"  # none of them, no formula: a glance is cheaper than the expression
_formula = re.compile(
    r"\$[^$\n]{1,200}\$|\\[a-z]{2}|\b\w\^|[a-z0-9)]\s{0,3}=\s{0,3}[-\w(]|\d\s{0,3}[*/+^]\s{0,3}\d"
).search
_choice = re.compile(r"(?:^|\s)\(?([a-e])[.)]\s?(?=\S)").findall
_tokens = re.compile(r"[^\W\d_]+|\d+").findall
# What words of letters alone cannot say.
_MARKS = {
    "c++": ("code-generation", 2.0),
    "c#": ("code-generation", 2.0),
    "#include": ("code-generation", 4.0),
    "km/h": ("math", 2.0),
}
# Scripts without spaces: a run of characters is one word to us, so these are looked for inside.
_INSIDE = {
    "翻译": ("translation", 5.0),
    "翻訳": ("translation", 5.0),
    "번역": ("translation", 5.0),
    "总结": ("summarization", 5.0),
    "摘要": ("summarization", 5.0),
    "要約": ("summarization", 5.0),
    "요약": ("summarization", 5.0),
    "解释": ("knowledge-qa", 3.0),
    "什么是": ("knowledge-qa", 3.0),
    "是什么": ("knowledge-qa", 3.0),
    "とは": ("knowledge-qa", 3.0),
    "무엇": ("knowledge-qa", 3.0),
    "写一": ("writing", 3.0),
    "メールを": ("writing", 3.0),
    "書いて": ("writing", 3.0),
    "써줘": ("writing", 3.0),
    "代码": ("code-generation", 4.0),
    "コード": ("code-generation", 4.0),
    "코드": ("code-generation", 4.0),
    "证明": ("math", 3.0),
    "計算": ("math", 3.0),
    "计算": ("math", 3.0),
    "建议": ("advice-planning", 3.0),
    "修改": ("rewriting", 3.0),
    "你好": ("roleplay", 3.0),
    "こんにちは": ("roleplay", 3.0),
}
_ALL_MARKS = _MARKS | _INSIDE
_GREETINGS = frozenset(
    (
        *("hi", "hello", "hey", "there", "say", "hola", "hallo", "bonjour", "salut", "ciao", "servus", "olá", "guten"),
        *("tag", "good", "morning", "afternoon", "evening"),
    )
)
# In the description of nearly any tool, and in nearly any question.
_SAYING_NOTHING = frozenset(
    words_of(
        "a an the this that these it its is are be do does can will what which who how when where why in on at of to"
        " for from by with as and or not if get give show tell find use using return returns current given new all"
        " any me my you your"
    ).hashes
)


class _Node:
    """A word of a phrase: what follows, and what the phrase that ends here says."""

    __slots__ = ("follows", "phrase", "scores")

    def __init__(self) -> None:
        self.follows: dict[str, _Node] = {}
        self.scores: _Scores = ()
        self.phrase = ""


def _lexicon(path: Path) -> tuple[dict[str, _Node], dict[str, _Node]]:
    """Phrases that count anywhere, and phrases that count at the start of a text or of its last paragraph."""
    anywhere, opening = _Node(), _Node()
    for task, by_weight in json.loads(path.read_text()).items():
        for weight, phrases in by_weight.items():
            for phrase in phrases:
                _add(opening if phrase.startswith("^") else anywhere, phrase, _INDEX[task], float(weight))
    return anywhere.follows, opening.follows


def _add(node: _Node, phrase: str, task: int, weight: float) -> None:
    words = _tokens(phrase)
    for word in words:
        node = node.follows.setdefault(word, _Node())
    if phrase[0] != "^":
        weight *= 0.5 if len(words) == 1 else 0.8
    known = dict(node.scores)
    known[task] = max(known.get(task, 0.0), weight)
    node.scores, node.phrase = tuple(known.items()), phrase


_ANYWHERE, _OPENING = _lexicon(LEXICON)


def task_posterior(question: Question, read: Words) -> list[float]:
    """Probabilities of `TASKS`, with the caller's hint."""
    scores = _START.copy()
    _add_lexicon(scores, question, read)
    _add_marks(scores, question, read)
    hint = task_named(question.hint) if question.hint else None
    if hint is not None:
        scores[_INDEX[hint]] += HINT
        for task in RELATED.get(hint, ()):
            scores[_INDEX[task]] += HINT_TO_RELATED
    most = max(scores)
    powers = [exp(score - most) for score in scores]
    share = 1 / sum(powers)
    return [power * share for power in powers]


def _add_lexicon(scores: list[float], question: Question, read: Words) -> None:
    seen: set[str] = set()
    _add_phrases(scores, read.words[:WORDS_READ], seen)
    last = read.lower[-400:]
    cut = last.rfind("\n")
    if cut >= 0:
        _add_phrases(scores, _tokens(last[cut + 1 :])[: LAST_WORDS_READ + 5], seen)


def _add_phrases(scores: list[float], words: list[str], seen: set[str]) -> None:
    """Adds what phrases in these words say, each once; `seen` are those added before."""
    count = len(words)
    nodes = _OPENING
    for word in words[:4]:
        node = nodes.get(word)
        if node is None:
            break
        if node.scores and "^" + node.phrase not in seen:
            seen.add("^" + node.phrase)
            for task, value in node.scores:
                scores[task] += value
        nodes = node.follows
    for start in range(count):
        node = _ANYWHERE.get(words[start])
        place = 1.0 if start < WORDS_IN_FULL else 0.6
        at = start + 1
        while node is not None:
            if node.scores and node.phrase not in seen:
                seen.add(node.phrase)
                for task, value in node.scores:
                    scores[task] += value * place
            node = node.follows.get(words[at]) if at < count else None
            at += 1


def _add_marks(scores: list[float], question: Question, read: Words) -> None:
    lower = read.lower
    marks = _MARKS if lower.isascii() else _ALL_MARKS
    for mark, (task, value) in marks.items():
        if mark in lower:
            scores[_INDEX[task]] += value
    if question.chars < SHORT_CHARACTERS:
        scores[_INDEX["math"]] += _mathematics(read)
    code = _code_marks(lower)
    if code >= 2:
        scores[_INDEX["code-generation"]] += min(code, 6) * 0.7
        scores[_INDEX["math"]] -= 2
    if ("b)" in lower or "b." in lower) and len(set(_choice(lower))) >= 3:
        scores[_INDEX["reasoning"]] += 3
    if 0 < len(read.words) <= GREETING_WORDS and _GREETINGS.issuperset(read.words):
        scores[_INDEX["other"]] += 6  # no work of any kind yet
    if question.tools:
        scores[_INDEX["tool-use"]] += _tools_wanted(question, read)
    if question.has_images:
        scores[_INDEX["vision"]] += 12  # whatever else it is, only a model that sees can do it


def _mathematics(read: Words) -> float:
    """Formulas, and many numbers among few words."""
    numbers = sum(map(str.isdigit, read.words))
    density = numbers / (read.lower.count(" ") + 2)
    found = 1.5 if any(map(read.lower.__contains__, _FORMULA_SIGNS)) and _formula(read.lower) else 0.0
    if numbers >= 2 and density > 0.04:
        found += min(density, 0.2) * 15
    return found


_CODE_MARKS = (
    "()",
    "=>",
    "::",
    ";\n",
    ">>>",
    "\ndef ",
    "\nclass ",
    "\nimport ",
    "\nfrom ",
    "\nconst ",
    "\nlet ",
    "\nvar ",
)


def _code_marks(lower: str) -> int:
    fenced = 4 if "```" in lower else 0
    return fenced + sum(map(("\n" + lower).count, _CODE_MARKS))


def _tools_wanted(question: Question, read: Words) -> float:
    """Agents send their tools with every turn; words of the tools in the question say that they are meant.

    One such word outweighs that the question by itself would be one of knowledge.
    """
    if question.tool_words is None:
        return 8.0
    shared = len(question.tool_words.intersection(read.hashes) - _SAYING_NOTHING)
    return 4.0 if not shared else 10.5 if shared == 1 else 11.5
