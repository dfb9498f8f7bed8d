"""What bounds a session: length, silence, sizes, clients that do not read, servers that stop; and who takes over."""

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from komilion import settings as komilion_settings
from komilion.common.errors import ProviderUnavailable
from tests.async_waiting import eventually
from tests.fakes.realtime import RealtimeScript
from tests.routing.servers import second_server
from tests.stand import Gateway, Tenant
from tests.voice.realtime.dropping import hold_up
from tests.voice.realtime.talking import Stand, Talker, eventually_equal, in_thread, talking

ANSWER_NANO = 14_196_000


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """Somebody with enough money."""
    return gateway.tenant(credit="100.00")


def test_a_session_that_is_too_long_ends_with_1001(stand: Stand, alice: Tenant, settings: Any) -> None:
    settings.REALTIME_SESSION_LIMIT_S = 0.3
    model = stand.model()

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            assert await talker.until_closed() == 1001
            assert talker.events[-1]["error"]["code"] == "session_expired"
        await eventually_equal(partial(stand.held_nano, alice), 0)

    asyncio.run(converse())


def test_a_session_of_which_nothing_is_heard_ends_with_1001(stand: Stand, alice: Tenant, settings: Any) -> None:
    settings.REALTIME_IDLE_TIMEOUT_S = 0.5
    model = stand.model()

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            for _ in range(4):
                await asyncio.sleep(0.2)  # heard of again and again, for longer than that
                await talker.send("input_audio_buffer.clear")
            assert await talker.until_closed() == 1001
            assert talker.events[-1]["error"]["code"] == "session_idle"
            assert len(talker.of("input_audio_buffer.cleared")) == 4

    asyncio.run(converse())


def test_a_frame_above_the_limit_ends_the_session_with_1009(stand: Stand, alice: Tenant) -> None:
    model = stand.model()

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            with suppress(ConnectionClosed):  # it may be hung up on while it still sends
                await talker.send("input_audio_buffer.append", audio="A" * 5_000_000)
            assert await talker.until_closed() == 1009
        await eventually_equal(partial(stand.held_nano, alice), 0)
        await eventually(lambda: stand.sessions_of(model)[0].is_over)

    asyncio.run(converse())


def test_a_frame_of_the_provider_above_the_limit_counts_as_a_drop(stand: Stand, alice: Tenant) -> None:
    big = {"type": "response.extra", "text": "x" * 5_000_000}
    model = stand.model(RealtimeScript(extra_events=(big,)))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            assert await talker.until_closed() == 1011

    asyncio.run(converse())


@pytest.mark.slow
def test_while_the_client_does_not_read_the_provider_is_not_read_either(stand: Stand, alice: Tenant) -> None:
    pieces, piece_ms = 700, 1_000  # 64 KB each, more than all buffers on the way hold
    model = stand.model(RealtimeScript(audio_ms=pieces * piece_ms, piece_ms=piece_ms))

    async def converse() -> None:
        url = stand.url(f"/v1/realtime?model={model}")
        headers = {"Authorization": f"Bearer {alice.key}"}
        async with connect(url, additional_headers=headers, max_size=None, max_queue=1, compression=None) as socket:
            talker = Talker(socket)
            await talker.until("session.created")
            await talker.send("response.create")
            (upstream,) = stand.sessions_of(model)
            await eventually(lambda: _stands_still(upstream.sent), pause_s=0.3)
            assert len(upstream.sent) < pieces
            await talker.until("response.done")
            assert len(talker.of("response.output_audio.delta")) == pieces

    counts: list[int] = []

    def _stands_still(sent: list[Any]) -> bool:
        counts.append(len(sent))
        return len(counts) > 2 and counts[-1] == counts[-2] > 10

    asyncio.run(converse())


def test_a_server_that_stops_tells_what_was_said_has_cost_and_why_it_closes(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(audio_ms=60_000, pause_s=0.02))
    before = stand.balance_nano(alice)

    async def converse() -> None:
        with second_server() as server:
            url = f"{server.url.replace('http', 'ws', 1)}/v1/realtime?model={model}"
            headers = {"Authorization": f"Bearer {alice.key}"}
            async with connect(url, additional_headers=headers, compression=None) as socket:
                talker = Talker(socket)
                await talker.until("session.created")
                await talker.send("response.create")
                await talker.until("response.output_audio.delta")
                server.ask_to_stop()
                assert await talker.until_closed() == 1012
                assert talker.close_reason == "server_stopped"
                assert talker.cost_nano() == ANSWER_NANO
                assert talker.events[-1]["error"]["code"] == "server_stopped"
            await eventually(lambda: not server.is_running, deadline_s=20)
        assert await in_thread(partial(stand.held_nano, alice)) == 0
        assert before - await in_thread(partial(stand.balance_nano, alice)) == ANSWER_NANO

    asyncio.run(converse())


def test_a_client_that_reads_nothing_does_not_hold_up_the_stop_of_the_server(
    stand: Stand, alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REALTIME_CLOSE_TIMEOUT_S", "REALTIME_GOODBYE_S"):
        monkeypatch.setattr(komilion_settings, name, 0.1)
    monkeypatch.setattr("komilion.uvicorn_worker.SETTLING_S", 0.1)
    model = stand.model(RealtimeScript(audio_ms=600_000, piece_ms=1_000))

    async def converse() -> None:
        with second_server() as server:
            url = f"{server.url.replace('http', 'ws', 1)}/v1/realtime?model={model}"
            headers = {"Authorization": f"Bearer {alice.key}"}
            async with connect(url, additional_headers=headers, compression=None, max_queue=1) as socket:
                talker = Talker(socket)
                await talker.until("session.created")
                await talker.send("response.create")
                await talker.until("response.output_audio.delta")
                socket.transport.pause_reading()
                server.ask_to_stop()
                await eventually(lambda: not server.is_running, deadline_s=10)
                socket.transport.abort()
        assert await in_thread(partial(stand.held_nano, alice)) == 0

    asyncio.run(converse())


def test_a_hold_that_waits_for_a_silent_caller_is_renewed_before_it_expires(
    stand: Stand, alice: Tenant, settings: Any
) -> None:
    settings.HOLD_LIFETIME_S = 1
    model = stand.model()

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            first = await in_thread(partial(holds_of, alice))
            async with asyncio.timeout(10):
                while await in_thread(partial(holds_of, alice)) in (first, []):  # noqa: ASYNC110 - the ledger sets none
                    await asyncio.sleep(0.05)
            await talker.answer()
            assert talker.cost_nano() == ANSWER_NANO

    asyncio.run(converse())


def holds_of(tenant: Tenant) -> list[str]:
    """The ids of a tenant's open holds."""
    from billing.calls import running_holds
    from tests.voice.realtime.test_faults import key_of

    return [hold.pk for hold in running_holds(key_of(tenant).organization_id)]


class Understudy:
    """An engine that answers each `response.create` with a text; what it found of the conversation is in `found`."""

    model = "acme/understudy"
    found: list[dict[str, Any]]

    def __init__(self, session: Any) -> None:
        self._session = session
        Understudy.found = []

    async def open(self) -> None:
        """Needs nothing."""

    async def start(self) -> None:
        """Go on with what was asked."""
        Understudy.found = [*self._session.conversation.items.values()]
        if self._session.conversation.asked:
            await self._answer()

    async def ready(self) -> None:
        """Always."""

    async def append(self, raw: str, audio_chars: int) -> None:
        """Hears nothing."""

    async def client_event(self, event: dict[str, Any]) -> None:
        """Answers."""
        if event["type"] == "response.create":
            await self._answer()

    async def close(self, end: Any) -> None:
        """Holds nothing."""

    async def _answer(self) -> None:
        await self._session.emit({"type": "response.created", "response": {"id": "resp_u", "status": "in_progress"}})
        await self._session.emit({"type": "response.done", "response": {"id": "resp_u", "status": "completed"}})


class Unopened(Understudy):
    """Cannot be opened."""

    async def open(self) -> None:
        """Fails."""
        raise ProviderUnavailable


@pytest.fixture
def understudies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind every relay stand an engine that cannot be opened and one that can."""
    from voice.realtime import consumer
    from voice.realtime.engines import Answerer, answerer_of

    def with_more(*arguments: Any) -> Answerer:
        answerer = answerer_of(*arguments)
        return Answerer(answerer.model, (*answerer.engines, Unopened, Understudy), answerer.per_minute_nano)

    monkeypatch.setattr(consumer, "answerer_of", with_more)


@pytest.mark.usefixtures("understudies")
def test_another_engine_goes_on_where_the_first_one_drops_before_it_ever_answered(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(lost_at="response.output_item.added", lost_times=9))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
            await talker.send("conversation.item.create", item=item)
            await talker.send("response.create")
            await talker.until("response.done", lambda event: event["response"]["id"] == "resp_u")
            assert [each["content"] for each in Understudy.found] == [item["content"]]
            await talker.send("response.create")
            await talker.until("response.done")
            assert talker.types().count("session.created") == 1
        await eventually_equal(partial(stand.held_nano, alice), 0)

    asyncio.run(converse())


@pytest.mark.usefixtures("understudies")
def test_what_comes_while_there_is_no_connection_goes_to_the_engine_that_takes_over(
    stand: Stand, alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stand.model(RealtimeScript(lost_at="conversation.item.deleted"))
    is_lost = hold_up(monkeypatch, ProviderUnavailable())

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send("conversation.item.delete", item_id="nobody's")
            await eventually(is_lost.is_set)
            await talker.send("response.create")
            done = await talker.until("response.done")
            assert done["response"]["id"] == "resp_u"

    asyncio.run(converse())


@pytest.mark.usefixtures("understudies")
def test_another_provider_s_model_goes_on_where_the_first_one_is_lost(
    stand: Stand, alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voice.realtime import consumer
    from voice.realtime.engines import Answerer, answerer_of

    other = stand.model()
    model = stand.model(RealtimeScript(lost_at="response.output_item.added", lost_times=9))

    def both(catalog: Any, name: str, caller: Any) -> Answerer:
        first, second = (answerer_of(catalog, each, caller) for each in (name, other))
        return Answerer(first.model, (*first.engines, *second.engines), first.per_minute_nano)

    monkeypatch.setattr(consumer, "answerer_of", both)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send("session.update", session={"type": "realtime", "instructions": "Be brief."})
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
            await talker.send("conversation.item.create", item=item)
            await talker.send("response.create")
            await talker.until("x_komilion.cost", lambda event: event["cost_nano_usd"] > 0)
            assert [part["model"] for part in talker.of("x_komilion.cost")[-1]["parts"]] == [other]
            assert talker.types().count("session.created") == 1
        replayed = ["session.update", "conversation.item.create", "response.create"]
        assert stand.sessions_of(other)[0].types() == replayed
        await eventually_equal(partial(stand.held_nano, alice), 0)

    asyncio.run(converse())


def test_the_talk_goes_on_at_a_provider_that_cannot_write_down_what_is_said(
    stand: Stand, alice: Tenant, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voice.realtime import consumer
    from voice.realtime.engines import Answerer, answerer_of

    scribe = {"kind": "transcription", "input_price": "0", "output_price": "0", "second_price": "0.0001"}
    gateway.add_model("scribe-here", "acme/scribe-here", provider=stand.provider, **scribe)
    gateway.add_provider("rt-elsewhere", base_url=stand.upstream.url)
    elsewhere = replace(stand, provider="rt-elsewhere")
    other = elsewhere.model()
    model = stand.model(RealtimeScript(lost_at="response.output_item.added", lost_times=9))

    def both(catalog: Any, name: str, caller: Any) -> Answerer:
        first, second = (answerer_of(catalog, each, caller) for each in (name, other))
        return Answerer(first.model, (*first.engines, *second.engines), first.per_minute_nano)

    monkeypatch.setattr(consumer, "answerer_of", both)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            heard = {"transcription": {"model": "acme/scribe-here"}}
            config = {"type": "realtime", "instructions": "Be brief.", "audio": {"input": heard}}
            await talker.send("session.update", session=config)
            await talker.until("session.updated")
            await talker.send("response.create")
            await talker.until("x_komilion.cost", lambda event: event["cost_nano_usd"] > 0)
        update = elsewhere.sessions_of(other)[0].received[0]["session"]
        assert update["instructions"] == "Be brief."
        assert update["audio"]["input"] == {"transcription": None}
        await eventually_equal(partial(stand.held_nano, alice), 0)

    asyncio.run(converse())


@pytest.mark.usefixtures("understudies")
def test_another_engine_opens_the_session_where_the_first_one_cannot(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(refuses_connections=9))

    async def converse() -> None:
        url = stand.url(f"/v1/realtime?model={model}")
        async with connect(url, additional_headers={"Authorization": f"Bearer {alice.key}"}) as socket:
            assert socket.response.headers["x-komilion-model"] == "acme/understudy"
            await socket.send(json.dumps({"type": "response.create"}))
            await Talker(socket).until("response.done")

    asyncio.run(converse())


@pytest.mark.usefixtures("understudies")
def test_no_other_engine_takes_over_once_something_was_answered(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(lost_at="rate_limits.updated", lost_times=9))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            (first,) = stand.sessions_of(model)
            del stand.upstream.scripts[first.model]  # so that there is no second connection
            await talker.answer()
            assert await talker.until_closed() == 1011

    asyncio.run(converse())
