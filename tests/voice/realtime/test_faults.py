"""What goes wrong in a conversation: whoever drops out, the other side hears of it, and the bill is exact."""

import asyncio
import socket
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from komilion.common.metrics import read_all
from tests.async_waiting import eventually
from tests.fakes.realtime import RealtimeScript
from tests.routing.books import set_caps
from tests.stand import Gateway, Tenant
from tests.voice.realtime.talking import Stand, eventually_equal, in_thread, talking

ANSWER_NANO = 14_196_000


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """Somebody with enough money."""
    return gateway.tenant(credit="100.00")


BEFORE_CONTENT = ["response.created", "response.output_item.added", "response.content_part.added"]
AFTER_CONTENT = [
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]


@pytest.mark.parametrize("point", BEFORE_CONTENT)
@pytest.mark.parametrize("code", [None, 1011])
def test_a_provider_that_drops_before_it_says_anything_is_asked_again(
    stand: Stand, alice: Tenant, point: str, code: int | None
) -> None:
    model = stand.model(RealtimeScript(lost_at=point, lost_code=code))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send("session.update", session={"type": "realtime", "instructions": "Be brief."})
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
            await talker.send("conversation.item.create", item=item)
            await talker.send("response.create")
            await talker.until("response.done", lambda event: event["response"]["status"] == "completed")
            await talker.until("x_komilion.cost", lambda event: event["cost_nano_usd"] > 0)
            assert talker.cost_nano() == ANSWER_NANO
            assert talker.types().count("session.created") == 1
            added = talker.of("conversation.item.added")
            assert [event["item"]["role"] for event in added].count("user") == 1
        first, second = stand.sessions_of(model)
        assert first.types() == ["session.update", "conversation.item.create", "response.create"]
        assert second.types() == first.types()
        assert second.received[1]["item"]["content"] == item["content"]

    asyncio.run(converse())


@pytest.mark.parametrize("point", AFTER_CONTENT)
def test_what_was_said_before_the_provider_dropped_is_charged_as_counted_and_the_talk_goes_on(
    stand: Stand, alice: Tenant, point: str
) -> None:
    model = stand.model(RealtimeScript(lost_at=point, audio_ms=1_000, piece_ms=500))
    before = stand.balance_nano(alice)
    said_s = 0 if point == "response.output_audio.delta" else 1

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send("response.create")
            done = await talker.until("response.done")
            assert done["response"]["status"] == "failed"
            assert done["response"]["status_details"]["error"]["code"] == "provider_dropped"
            cost = await talker.until("x_komilion.cost")
            heard = {"output_audio": 20} if said_s else {}
            assert cost["parts"][0]["usage"] == {"input": 5, "output": 3, **heard}
            await talker.answer()
        await eventually_equal(partial(stand.held_nano, alice), 0)
        assert before - await in_thread(partial(stand.balance_nano, alice)) == talker.cost_nano()
        replayed = ["conversation.item.create"] if point == "response.done" else []  # that item was whole
        assert stand.sessions_of(model)[1].types() == [*replayed, "response.create"]

    asyncio.run(converse())


def test_a_provider_that_drops_twice_without_an_answer_ends_the_session_with_1011(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(lost_at="response.output_audio.delta", lost_times=2))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send("response.create")
            await talker.until("response.done")
            await talker.send("response.create")
            assert await talker.until_closed() == 1011
            assert talker.of("error")[-1]["error"]["type"] == "provider_error"
            assert talker.events[-1]["type"] == "error"

    asyncio.run(converse())


def test_a_provider_that_cannot_be_reached_again_ends_the_session_with_1011(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(lost_at="response.done"))
    before = stand.balance_nano(alice)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            upstream_id = stand.sessions_of(model)[0].model
            script = stand.upstream.scripts.pop(upstream_id)
            await talker.send("response.create")
            assert await talker.until_closed() == 1011
            assert script is not None
        await eventually_equal(partial(stand.held_nano, alice), 0)
        assert before - await in_thread(partial(stand.balance_nano, alice)) == talker.cost_nano() > 0

    asyncio.run(converse())


def test_a_connection_that_opens_at_the_second_try_of_a_session_serves(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(lost_at="connect"))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.answer()
            assert talker.cost_nano() == ANSWER_NANO

    asyncio.run(converse())


def test_a_client_that_vanishes_pays_for_what_was_said_and_holds_nothing_more(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(audio_ms=60_000, pause_s=0.01))
    before = stand.balance_nano(alice)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send("response.create")
            await talker.until("response.output_audio.delta")
            talker.socket.transport.abort()
        await eventually_equal(partial(stand.held_nano, alice), 0)
        assert before - await in_thread(partial(stand.balance_nano, alice)) == ANSWER_NANO
        assert stand.sessions_of(model)[0].types() == ["response.create", "response.cancel"]

    asyncio.run(converse())


def test_a_client_that_leaves_a_provider_that_tells_no_usage_pays_as_counted(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(audio_ms=60_000, pause_s=0.01, ignores_cancel=True))
    before = stand.balance_nano(alice)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send("response.create")
            await talker.until("response.output_audio.delta")
        await eventually_equal(partial(stand.held_nano, alice), 0)
        assert before - await in_thread(partial(stand.balance_nano, alice)) > 0
        await eventually(lambda: stand.sessions_of(model)[0].is_over)

    asyncio.run(converse())


def test_a_wallet_that_runs_dry_ends_the_talk_cleanly_and_is_never_overdrawn(stand: Stand, gateway: Gateway) -> None:
    bob = gateway.tenant(credit="0.10")
    usage = {
        "input_tokens": 10,
        "output_tokens": 900,
        "input_token_details": {"text_tokens": 10},
        "output_token_details": {"audio_tokens": 850, "text_tokens": 50},
    }
    model = stand.model(RealtimeScript(audio_ms=600_000, piece_ms=500, pause_s=0.01, cancelled_usage=usage))

    async def converse() -> None:
        async with talking(stand, bob.key, model) as talker:
            await talker.send("response.create")
            assert await talker.until_closed() == 4402
            assert talker.close_reason == "insufficient_balance"
            kinds = [kind for kind in talker.types() if kind in {"response.done", "x_komilion.cost", "error"}]
            assert kinds == ["response.done", "x_komilion.cost", "error"]
            assert talker.events[-1]["error"]["code"] == "insufficient_balance"
        assert await in_thread(partial(stand.balance_nano, bob)) == 100_000_000 - talker.cost_nano() > 0
        assert await in_thread(partial(stand.held_nano, bob)) == 0

    asyncio.run(converse())


def test_a_warning_comes_once_when_a_fifth_of_the_balance_is_left(stand: Stand, gateway: Gateway) -> None:
    bob = gateway.tenant(credit="0.20")
    model = stand.model()

    async def converse() -> None:
        async with talking(stand, bob.key, model) as talker:
            with suppress(ConnectionClosed):
                while True:
                    await talker.answer()
            assert (talker.close_code or await talker.until_closed()) == 4402
            (warning,) = talker.of("x_komilion.low_balance")
            assert warning["balance_nano_usd"] < 40_000_000
            assert talker.of("x_komilion.cost")[-1]["balance_nano_usd"] == 200_000_000 - talker.cost_nano()
        assert await in_thread(partial(stand.balance_nano, bob)) == 200_000_000 - talker.cost_nano()

    asyncio.run(converse())


def test_a_revoked_key_ends_the_session_within_two_seconds(stand: Stand, gateway: Gateway) -> None:
    carol = gateway.tenant(credit="5.00")
    model = stand.model()

    async def converse() -> None:
        async with talking(stand, carol.key, model) as talker:
            await talker.answer()
            await in_thread(partial(revoke, carol))
            async with asyncio.timeout(2):
                assert await talker.until_closed() == 4401
            assert talker.events[-1]["error"]["code"] == "invalid_api_key"
        await eventually_equal(partial(stand.held_nano, carol), 0)

    asyncio.run(converse())


def test_a_suspended_organization_hears_so_within_two_seconds(stand: Stand, gateway: Gateway) -> None:
    carol = gateway.tenant(credit="5.00")
    model = stand.model()

    async def converse() -> None:
        async with talking(stand, carol.key, model) as talker:
            await in_thread(partial(gateway.suspend, carol))
            async with asyncio.timeout(2):
                assert await talker.until_closed() == 4403
            assert talker.close_reason == "organization_suspended"

    asyncio.run(converse())


def test_a_change_of_the_key_that_takes_nothing_away_lets_the_talk_go_on(stand: Stand, gateway: Gateway) -> None:
    carol = gateway.tenant(credit="5.00")
    model = stand.model()

    async def converse() -> None:
        async with talking(stand, carol.key, model) as talker:
            await talker.answer()
            await in_thread(partial(touch, carol))
            await talker.answer()
            await talker.answer()
            assert talker.cost_nano() == 3 * ANSWER_NANO

    asyncio.run(converse())


def revoke(tenant: Tenant) -> None:
    """As its owner would."""
    from accounts.actions.keys import do_revoke_key

    do_revoke_key(key_of(tenant), actor="test")


def touch(tenant: Tenant) -> None:
    """Raise the epoch of the organization, as any change of what its callers may do does."""
    from accounts.actions.changes import raise_epoch

    raise_epoch(key_of(tenant).organization_id)


def key_of(tenant: Tenant):
    """The row of a tenant's key."""
    from django.conf import settings

    from accounts.models import ApiKey
    from komilion.common.ids import hash_api_key

    return ApiKey.objects.get(key_hash=hash_api_key(tenant.key, settings.KEY_PEPPER))


def test_what_was_said_and_not_answered_is_said_again_to_the_next_connection(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(lost_at="response.created"))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            heard = {"input": {"turn_detection": None}}
            await talker.send("session.update", session={"type": "realtime", "audio": heard})
            await talker.say(200)
            await talker.send("input_audio_buffer.commit")
            await talker.send("response.create")
            await talker.until("response.done", lambda event: event["response"]["status"] == "completed")
        first, second = stand.sessions_of(model)
        assert second.types() == first.types()
        assert second.audio == first.audio

    asyncio.run(converse())


def test_a_cap_of_the_key_ends_the_talk_as_an_empty_wallet_does(stand: Stand, gateway: Gateway) -> None:
    dora = gateway.tenant(credit="5.00")
    model = stand.model()

    async def converse() -> None:
        await in_thread(partial(set_caps, dora, total=100_000_000))
        async with talking(stand, dora.key, model) as talker:
            with suppress(ConnectionClosed):
                while True:
                    await talker.answer()
            assert (talker.close_code or await talker.until_closed()) == 4402
            assert talker.close_reason == "key_cap_reached"
            assert 0 < talker.cost_nano() <= 100_000_000

    asyncio.run(converse())


def test_a_key_that_the_provider_refuses_raises_the_alarm_and_counts_as_a_failed_attempt(
    stand: Stand, alice: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    at = ("--base-url", stand.upstream.url, "--api-key", "sk-wrong-0123456789")
    stand.gateway.manage("provider", "add", "locked", *at)
    model = Stand(stand.gateway, stand.upstream, "locked").model()

    async def converse() -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with talking(stand, alice.key, model):
                pass
        assert refused.value.response.status_code == 502
        await eventually_equal(partial(stand.held_nano, alice), 0)

    asyncio.run(converse())
    alarms = [record for record in caplog.records if getattr(record, "alarm", "") == "provider_refuses_us"]
    assert [(record.model, record.reason) for record in alarms] == [(model, "provider_rejected_credentials")]
    counters, _ = read_all()
    assert counters["komilion_attempts", (model, "locked", "provider_rejected_credentials")] == 1


def test_a_provider_that_does_not_open_the_connection_counts_as_a_timeout_and_the_log_says_so(
    stand: Stand, alice: Tenant, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.REALTIME_OPEN_TIMEOUT_S = 0.1
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stand.gateway.add_provider("silent", base_url=f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
        model = Stand(stand.gateway, stand.upstream, "silent").model()

        async def converse() -> None:
            with pytest.raises(InvalidStatus) as refused:
                async with talking(stand, alice.key, model):
                    pass
            assert refused.value.response.status_code == 503

        asyncio.run(converse())
    assert "TimeoutError" in next(
        record.error for record in caplog.records if record.message == "realtime provider not reached"
    )
    counters, _ = read_all()
    assert counters["komilion_attempts", (model, "silent", "provider_timeout")] == 1
