"""What is made of whatever a model answers when it is asked for minutes."""

import json

import pytest

from voice.meetings.minutes import (
    ITEMS_MOST,
    PART_MOST_CHARACTERS,
    Action,
    Minutes,
    merged,
    pages_of,
    parts_of,
    read_minutes,
)

GOOD = {
    "summary": "A  talk.",
    "decisions": ["Go on."],
    "actions": [{"task": "Write", "owner": "Anna"}, {"task": "Call", "owner": None}],
    "openQuestions": ["When?"],
}
READ = Minutes("A talk.", ("Go on.",), (Action("Write", "Anna"), Action("Call")), ("When?",))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        f"```json\n{json.dumps(GOOD, indent=2)}\n```",
        f"Here are the minutes:\n```\n{json.dumps(GOOD)}\n```\nAnything else?",
        f"Sure! {json.dumps(GOOD)} I hope that helps.",
    ],
)
def test_the_object_is_found_wherever_it_stands(text: str):
    assert read_minutes(text) == READ


@pytest.mark.parametrize(
    ("told", "read"),
    [
        (
            {"summary": "s", "decisions": None, "actions": "Write", "openQuestions": {}},
            Minutes("s", (), (Action("Write"),)),
        ),
        (
            {"overview": "s", "action_items": [{"description": "x", "assignee": "Unknown"}]},
            Minutes("s", (), (Action("x"),)),
        ),
        ({"summary": ["a", 1, "b"], "decisions": [1, "", {"decision": "d"}]}, Minutes("a b", ("d",))),
        ({"summary": {"text": "s"}, "actions": [{"owner": "x"}, 5, None]}, Minutes("s")),
        (
            {"questions": ["q"], "tasks": [{"what": "t", "who": " Bob "}]},
            Minutes("", (), (Action("t", "Bob"),), ("q",)),
        ),
    ],
)
def test_other_shapes_are_read_as_far_as_they_go(told: object, read: Minutes):
    assert read_minutes(json.dumps(told)) == read


@pytest.mark.parametrize("text", ["", "They talked.", "[1, 2]", '{"a": 1}', '{"summary": ', "{{{", "}{"])
def test_an_answer_without_an_object_is_the_summary(text: str):
    assert read_minutes(text) == Minutes(summary=text.strip(), is_plain=True)
    assert merged([READ, read_minutes(text)]).is_plain


def test_a_flood_is_cut():
    many = read_minutes(json.dumps({"summary": "x" * 10**5, "decisions": ["y" * 10**4] * 500}))
    assert len(many.summary) == 8_000
    assert len(many.decisions) == ITEMS_MOST
    assert len(many.decisions[0]) == 1_000
    assert len(read_minutes("z" * 10**5).summary) == 8_000


def test_a_transcript_is_cut_between_lines():
    lines = ["a" * 5_000, "b" * 5_000, "c" * 5_000, "d" * 30_000]
    parts = parts_of(lines)
    assert parts[0] == "\n".join(lines[:2])
    assert all(len(part) <= PART_MOST_CHARACTERS for part in parts)
    assert "".join(parts).replace("\n", "") == "".join(lines)
    assert parts_of([]) == []


def test_minutes_of_parts_in_a_row():
    assert merged([READ, READ, Minutes("More.", ("Stop.",))]) == Minutes(
        "A talk.\n\nA talk.\n\nMore.", ("Go on.", "Stop."), READ.actions, READ.open_questions
    )
    assert merged([]) == Minutes()
    assert len(pages_of([READ] * 3)) == 1
    assert len(pages_of([Minutes("x" * 8_000)] * 3)) == 3
