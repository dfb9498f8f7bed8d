"""What kind of work a request is taken for."""

from typing import Any

import pytest

from routing.selection.features import question_of, words_of
from routing.selection.tasks import task_posterior
from routing.selection.words import TASKS


def posterior(text: str, **more: Any) -> dict[str, float]:
    question = question_of(text, **more)
    shares = task_posterior(question, words_of(question.text))
    assert sum(shares) == pytest.approx(1)
    return dict(zip(TASKS, shares, strict=True))


def task(text: str, **more: Any) -> str:
    shares = posterior(text, **more)
    return max(shares, key=shares.__getitem__)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write a poem about the sea", "writing"),
        ("Rephrase this so that it sounds more formal: gimme that", "rewriting"),
        ("Write a Python function that sorts a list", "code-generation"),
        ("Solve for x: 3x + 7 = 22", "math"),
        ("Prove that the square root of 2 is irrational", "math"),
        ("Is it true that all birds can fly? Evaluate the argument step by step", "reasoning"),
        ("What is the capital of France?", "knowledge-qa"),
        ("Extract all names and dates from the text as JSON: Ann met Bob on 3 May.", "data-extraction"),
        ("Summarize the following article in three bullet points: ...", "summarization"),
        ("Translate to German: good morning", "translation"),
        ("Pretend you are a pirate and greet me", "roleplay"),
        ("Plan a three day trip to Lisbon, give me ideas for the evenings", "advice-planning"),
        ("Übersetze ins Englische: guten Morgen", "translation"),
        ("Écris un poème sur la mer", "writing"),
        ("¿Qué es la fotosíntesis?", "knowledge-qa"),
        ("请用中文解释一下量子纠缠是什么。", "knowledge-qa"),
        ("日本語で丁寧な断りのメールを書いてください。", "writing"),
        ("zzz qqq", "other"),
        ("", "other"),
    ],
)
def test_plain_requests_are_known_for_what_they_are(text: str, expected: str) -> None:
    assert task(text) == expected


def test_words_and_case_after_the_window_change_nothing() -> None:
    text = "Write a poem about the sea. " + "x " * 1_000
    assert posterior(text + "translate " * 50 + "y " * 400) == posterior(text + "summarize " * 50 + "y " * 400)
    assert posterior("WRITE A POEM") == posterior("write a poem")


def test_images_make_it_vision() -> None:
    assert task("What is this?", has_images=True) == "vision"
    assert task("Write a poem about this picture", has_images=True) == "vision"


def test_tools_count_for_more_when_the_question_speaks_of_them() -> None:
    named = frozenset(words_of("get weather city").hashes)
    asked = "Please tell me the weather for Rome"
    without = posterior(asked)["tool-use"]
    strangers = posterior(asked, tools=1, tool_words=frozenset())["tool-use"]
    meant = posterior(asked, tools=1, tool_words=named)["tool-use"]
    assert without < strangers < meant
    assert task(asked, tools=1, tool_words=named) == "tool-use"
    assert strangers < posterior(asked, tools=1)["tool-use"]


@pytest.mark.parametrize("tool_words", ["get weather", "get weather get the current weather for a city"])
def test_a_word_of_the_tools_outweighs_a_question_of_knowledge(tool_words: str) -> None:
    tools = {"tools": 1, "tool_words": frozenset(words_of(tool_words).hashes)}
    assert task("What is the weather in Bern?", **tools) == "tool-use"
    assert task("What is the capital of France?", **tools) == "knowledge-qa"
    assert task("Explain what a monad is", **tools) == "knowledge-qa"
    assert task("Write a poem about spring", **tools) == "writing"


@pytest.mark.parametrize("text", ["hi", "Hello!", "hello there", "Hey", "Say hello", "Good morning"])
def test_a_greeting_is_no_work_of_any_kind(text: str) -> None:
    assert task(text) == "other"


def test_small_talk_is_more_than_a_greeting() -> None:
    assert task("Hi, how are you?") == "roleplay"


def test_a_hint_is_a_strong_prior() -> None:
    assert task("zzz qqq", hint="math") == "math"
    assert task("zzz qqq", hint="coding") == "code-generation"


def test_a_hint_is_not_an_order() -> None:
    assert task("Translate to German, please: good morning", hint="math") == "translation"


def test_a_coarse_hint_covers_its_relatives() -> None:
    plain, hinted = posterior("zzz summary qqq"), posterior("zzz summary qqq", hint="writing")
    assert hinted["summarization"] > plain["summarization"]
    assert hinted["math"] < plain["math"]


def test_an_unknown_hint_changes_nothing() -> None:
    assert posterior("Write a poem", hint="no such task") == posterior("Write a poem")
