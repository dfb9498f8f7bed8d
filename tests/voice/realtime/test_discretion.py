"""What the holder of a ticket is told of an organization's money: that it is not enough, and no figure."""

import pytest

from komilion.common.errors import BadRequest, InsufficientBalance, KeyCapReached
from voice.realtime.discretion import discreet, discreet_error

TOLD = "This request needs at least $0.10 and the wallet has $0.05 available."
PLAIN = "The wallet does not cover this request. Top it up and try again."
ERROR = {"type": "billing_error", "code": "insufficient_balance", "message": TOLD}


@pytest.mark.parametrize("kind", ["error", "conversation.item.input_audio_transcription.failed"])
def test_an_event_about_a_failure_has_no_figures(kind: str) -> None:
    assert discreet({"type": kind, "error": ERROR})["error"] == {**ERROR, "message": PLAIN}


def test_neither_has_a_response_that_failed() -> None:
    response = {"status": "failed", "status_details": {"type": "failed", "error": ERROR}}
    event = discreet({"type": "response.done", "response": response})
    assert event["response"]["status_details"] == {"type": "failed", "error": {**ERROR, "message": PLAIN}}


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.done", "response": {"status": "completed", "status_details": None}},
        {"type": "error", "error": {"code": "invalid_request", "message": "It costs $5."}},
        {"type": "error", "error": None},
        {"type": "response.output_text.delta", "delta": TOLD},
    ],
)
def test_everything_else_stays_as_it_is(event: dict[str, object]) -> None:
    assert discreet(event) == event


def test_an_error_says_no_more_than_its_kind() -> None:
    assert discreet_error(InsufficientBalance(TOLD)).message == PLAIN
    assert discreet_error(KeyCapReached("The cap of $5 is used up.")).message == KeyCapReached.default_message
    error = BadRequest("It costs $5.")
    assert discreet_error(error) is error
