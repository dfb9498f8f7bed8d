"""How much of what is appended becomes items: by commits of the client, and by what the provider takes for speech."""

from voice.realtime.input_buffer import SILENCE_S, InputBuffer

SECOND = 64_000


def test_the_client_commits_all_there_is_and_the_provider_confirms_it_later() -> None:
    buffer = InputBuffer(detects_turns=False)
    buffer.heard_chars += 2 * SECOND
    assert buffer.waiting_chars == 2 * SECOND
    buffer.commit("c")
    buffer.heard_chars += SECOND
    assert (buffer.item_chars, buffer.sent_chars, buffer.waiting_chars) == (0, 2 * SECOND, 3 * SECOND)
    assert buffer.committed() == 2 * SECOND
    assert (buffer.item_chars, buffer.sent_chars, buffer.waiting_chars) == (2 * SECOND, 0, SECOND)


def test_a_clear_throws_away_what_was_there_when_it_went_up() -> None:
    buffer = InputBuffer(detects_turns=False)
    buffer.heard_chars += 2 * SECOND
    buffer.clear("a")
    buffer.heard_chars += 3 * SECOND
    buffer.commit("b")
    assert (buffer.sent_chars, buffer.waiting_chars) == (3 * SECOND, 5 * SECOND)
    buffer.cleared()
    assert buffer.waiting_chars == 3 * SECOND
    buffer.heard_chars += SECOND
    assert buffer.committed() == 3 * SECOND
    assert buffer.waiting_chars == SECOND
    buffer.cleared()  # of nobody
    assert buffer.waiting_chars == SECOND


def test_a_clear_that_was_not_done_throws_nothing_away() -> None:
    buffer = InputBuffer(detects_turns=False)
    for event_id in ("refused", "not confirmed"):
        buffer.heard_chars += 2 * SECOND
        buffer.clear(event_id)
    buffer.refused("refused")
    buffer.heard_chars += SECOND
    buffer.commit()
    assert buffer.committed() == 5 * SECOND
    buffer.clear()
    assert [sent.kind for sent in buffer.sent] == ["clear"]
    buffer.connect()
    buffer.append(4 * SECOND)
    assert buffer.waiting_chars == 4 * SECOND


def test_a_commit_that_is_refused_leaves_what_was_there_to_the_next_one() -> None:
    buffer = InputBuffer(detects_turns=False)
    buffer.heard_chars += SECOND
    buffer.commit("first")
    buffer.refused("first")
    assert (buffer.sent, buffer.sent_chars, buffer.item_chars) == ((), 0, 0)
    buffer.commit("second")
    assert buffer.committed() == SECOND


def test_what_the_client_commits_includes_what_the_provider_took_for_silence() -> None:
    buffer = InputBuffer()
    buffer.heard_chars += 10 * SECOND
    buffer.speech_started(9_000)
    assert buffer.waiting_chars == SECOND
    buffer.commit()
    assert buffer.waiting_chars == 10 * SECOND
    assert buffer.committed() == 10 * SECOND


def test_what_waits_lasts_as_long_as_in_the_format_in_which_it_lasts_longer() -> None:
    buffer = InputBuffer(detects_turns=False)
    buffer.append(SECOND)
    buffer.commit("before")
    for weight in (6, 1, 6, 1, 6):
        buffer.append(SECOND)
        buffer.weigh(weight)
    assert buffer.heard_chars == (1 + 5 * 6) * SECOND
    assert buffer.committed() == SECOND
    buffer.commit()
    assert buffer.committed() == 30 * SECOND


def test_who_detects_turns_has_read_what_waits() -> None:
    buffer = InputBuffer()
    buffer.append(SECOND)
    buffer.weigh(6)
    assert buffer.waiting_chars == SECOND


def test_a_turn_that_has_ended_is_committed_before_what_the_client_commits() -> None:
    buffer = InputBuffer()
    buffer.heard_chars += 4 * SECOND
    buffer.commit()
    buffer.speech_started(1_000)
    buffer.speech_stopped(3_000)
    assert buffer.committed() == 2 * SECOND
    assert buffer.committed() == SECOND


def test_of_detected_speech_what_lies_between_its_begin_and_its_end_becomes_an_item() -> None:
    buffer = InputBuffer()
    buffer.heard_chars += 10 * SECOND
    buffer.speech_started(6_000)
    assert buffer.waiting_chars == 4 * SECOND
    buffer.heard_chars += 5 * SECOND
    buffer.speech_stopped(12_000)
    assert buffer.committed() == 6 * SECOND
    assert (buffer.item_chars, buffer.waiting_chars) == (6 * SECOND, 3 * SECOND)


def test_times_that_cannot_be_are_held_within_what_was_heard() -> None:
    buffer = InputBuffer()
    buffer.heard_chars += SECOND
    buffer.speech_started(999_000)
    buffer.speech_stopped(-5)
    assert buffer.committed() == 0
    assert buffer.waiting_chars == 0


def test_what_nothing_was_said_of_for_a_while_is_silence() -> None:
    buffer = InputBuffer()
    for second in range(100, 100 + 4 * SILENCE_S):
        buffer.heard_chars += SECOND
        buffer.look(second)
    assert buffer.waiting_chars <= 2 * SILENCE_S * SECOND
    buffer.speech_started(4 * SILENCE_S * 1_000)
    for second in range(200, 200 + 4 * SILENCE_S):
        buffer.heard_chars += SECOND
        buffer.look(second)
    assert buffer.waiting_chars >= 4 * SILENCE_S * SECOND


def test_who_commits_by_himself_waits_as_long_as_he_likes() -> None:
    buffer = InputBuffer(detects_turns=False)
    for second in range(100, 100 + 4 * SILENCE_S):
        buffer.heard_chars += SECOND
        buffer.look(second)
    assert buffer.waiting_chars == 4 * SILENCE_S * SECOND


def test_another_connection_counts_from_what_is_said_to_it_again() -> None:
    buffer = InputBuffer()
    buffer.heard_chars += 10 * SECOND
    buffer.commit()
    buffer.connect()
    buffer.append(3 * SECOND)
    assert (buffer.sent_chars, buffer.waiting_chars) == (0, 3 * SECOND)
    buffer.speech_started(1_000)
    assert buffer.waiting_chars == 2 * SECOND
