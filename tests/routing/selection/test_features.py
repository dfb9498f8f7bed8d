"""What is read of a request, and what is not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.providers.base import ChatRequest
from routing.selection import features
from routing.selection.features import (
    FIGURES,
    HASH_BITS,
    HEAD_CHARACTERS,
    TAIL_CHARACTERS,
    Question,
    figures_of,
    glance,
    question_of,
    read_question,
    table_rows,
    words_of,
)

WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Current weather of a city", "parameters": {"type": "object"}},
}


def ask(*messages: dict[str, Any], **parameters: Any) -> Question:
    return read_question(ChatRequest("up/ok", list(messages), parameters))


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def described(question: Question) -> tuple[list[int], tuple[float, ...]]:
    words = words_of(question.text)
    return sorted(table_rows(words.hashes).tolist()), figures_of(question, words)


def figure(question: Question, name: str) -> float:
    return described(question)[1][FIGURES.index(name)]


def test_the_last_user_turn_is_read() -> None:
    question = ask(
        {"role": "system", "content": "Be brief."},
        user("First"),
        {"role": "assistant", "content": "Yes?"},
        user("Second"),
        {"role": "assistant", "content": "Well"},
    )
    assert (question.text, question.chars, question.turns) == ("Second", 6, 2)


def test_a_conversation_without_a_user_is_an_empty_question() -> None:
    question = ask({"role": "system", "content": "Be brief."})
    assert question == Question(text="", chars=0)
    rows, figures = described(question)
    assert rows == []
    assert np.isfinite(figures).all()


def test_nothing_beyond_the_first_and_last_characters_is_read() -> None:
    head, tail = "h" * HEAD_CHARACTERS, "t" * TAIL_CHARACTERS
    one, other = ask(user(head + "secret one" + tail)), ask(user(head + "0123456789" + tail))
    assert one.text == other.text == head + "\n" + tail
    assert one.chars == HEAD_CHARACTERS + TAIL_CHARACTERS + 10
    assert described(one) == described(other)


@given(st.lists(st.text(st.sampled_from("ab \n"), max_size=900), max_size=8))
def test_a_turn_in_parts_is_read_like_the_joined_text(texts: list[str]) -> None:
    question = ask(user([{"type": "text", "text": text} for text in texts]))
    whole = "\n".join(texts)
    assert question.chars == len(whole)
    if len(whole) + 1 <= HEAD_CHARACTERS + TAIL_CHARACTERS or len(whole) > HEAD_CHARACTERS + TAIL_CHARACTERS:
        assert question.text == glance(whole)


def test_images_of_the_last_user_turn_are_seen() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    assert ask(user([{"type": "text", "text": "What is it?"}, image])).has_images
    assert not ask(user([image]), user("Thanks")).has_images


def test_tools_are_counted_measured_and_read() -> None:
    question = ask(user("Weather in Rome?"), tools=[WEATHER])
    assert question.tools == 1
    assert question.schema_bytes > 50
    assert question.tool_words is not None
    assert set(words_of("weather city").hashes) <= question.tool_words
    assert ask(user("Hi")).tool_words is None
    legacy = ask(user("Weather in Rome?"), functions=[WEATHER["function"]])
    assert (legacy.tools, legacy.tool_words) == (1, question.tool_words)


def test_many_tools_are_measured_by_the_first() -> None:
    few, many = ask(user("Hi"), tools=[WEATHER] * 8), ask(user("Hi"), tools=[WEATHER] * 800)
    assert many.schema_bytes == pytest.approx(100 * few.schema_bytes, rel=0.02)


@pytest.mark.parametrize("noise", [str.upper, lambda text: text.replace(" ", "   "), lambda text: "  " + text + "\n\n"])
def test_shouting_and_white_space_change_nothing(noise: Any) -> None:
    text = "Which of these is right?\nA. one, two. B. 3 and 4\nC. def f(x): return x * 2. Say why."
    rows, figures = described(question_of(text))
    noisy_rows, noisy_figures = described(question_of(noise(text)))
    assert noisy_rows == rows
    assert noisy_figures == pytest.approx(figures, abs=1e-9)


def test_a_number_counts_by_its_digits() -> None:
    assert described(question_of("Add 37 apples"))[0] == described(question_of("Add 42 apples"))[0]
    assert described(question_of("Add 37 apples"))[0] != described(question_of("Add 370 apples"))[0]


def test_the_order_of_words_matters() -> None:
    assert described(question_of("dog bites man"))[0] != described(question_of("man bites dog"))[0]


@given(st.text(max_size=400))
def test_any_text_has_rows_of_the_table_and_finite_figures(text: str) -> None:
    rows, figures = described(question_of(text))
    assert all(0 <= row < 1 << HASH_BITS for row in rows)
    assert len(figures) == len(FIGURES)
    assert np.isfinite(figures).all()
    assert max(figures) < 100


def test_figures_say_what_they_are_named_after() -> None:
    assert figure(question_of("Is it?"), "ends_with_question")
    assert figure(question_of("```\nx = 1\n```"), "code_fence")
    assert figure(question_of("def f(x): pass"), "definition_start")
    assert figure(question_of("Pick.\na. x\nb. y\nc. z\nd. u"), "answer_choices") == 3
    assert figure(question_of("Was ist das für ein Öl?"), "foreign_script") > 0
    assert figure(question_of("x" * 9), "log_characters") < figure(question_of("x" * 9_000), "log_characters")
    assert figure(question_of("Hi", tools=3, schema_bytes=400), "log_schema") > 4


@given(st.lists(st.integers(0, 2**32 - 1), max_size=features.FEW_WORDS))
def test_few_words_have_the_rows_that_they_have_among_many(hashes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        few = table_rows(hashes)
        patch.setattr(features, "FEW_WORDS", -1)
        many = table_rows(hashes)
    assert few.dtype == many.dtype
    assert sorted(few.tolist()) == sorted(many.tolist())
