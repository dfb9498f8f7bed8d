"""Calls with an Idempotency-Key: one call, one charge, one answer for everybody who repeats it."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from openai import APIStatusError, OpenAI

from tests.billing.committing import Database
from tests.fakes.client import CHAT, PROMPT, Answer, RawCall, call
from tests.fakes.journal import Tokens
from tests.fakes.replies import Cut, Reply
from tests.routing.answers import PREFIXES, assert_error, key_of
from tests.routing.books import assert_in_order, charge_of, claims, nothing_is_held, only_row, usage_rows
from tests.routing.gates import ENDLESS, Gate
from tests.routing.servers import SecondServer, second_server
from tests.stand import CANCELLING, Gateway, Tenant
from tests.waiting import wait_until

CHARGE = charge_of(Tokens(25, 12))
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def ask(gateway: Gateway | SecondServer, tenant: Tenant, key: str | bytes, path: str = CHAT, **body: Any) -> Answer:
    """One call with that Idempotency-Key."""
    headers: dict[str, Any] = {"Idempotency-Key": key}
    return call(gateway.url, path, tenant.key, {"messages": PROMPT, **body}, headers)


def raw_call(gateway: Gateway, tenant: Tenant, key: str, **body: Any) -> RawCall:
    """The same on a bare socket; its body is that of `ask` with the same arguments in the same order."""
    raw = RawCall(gateway.url, tenant.key, **body)
    raw.head = raw.head.replace(b"\r\nHost", f"\r\nIdempotency-Key: {key}\r\nHost".encode(), 1)
    return raw


class TestReplay:
    @both
    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_the_same_bytes_for_nothing(self, gateway: Gateway, prefix: str, stream: bool):
        tenant, model, path = gateway.tenant(), gateway.add_model(Reply()), f"{prefix}/chat/completions"
        first = ask(gateway, tenant, "k", path, model=model, stream=stream)
        assert first.status == 200
        assert "idempotent-replayed" not in first.headers
        for _ in range(2):
            again = ask(gateway, tenant, "k", path, model=model, stream=stream)
            assert (again.status, again.body) == (200, first.body)
            assert again.headers["idempotent-replayed"] == "true"
            own = {"date", "idempotent-replayed", "transfer-encoding", "content-length"}
            rates = {name for name in first.headers if name.startswith("x-ratelimit")}
            for name in first.headers.keys() - own - rates:
                assert again.headers[name] == first.headers[name], name
            assert rates <= again.headers.keys(), "it counts as a request"
        assert len(gateway.calls_of(model)) == 1
        assert_in_order(gateway, tenant, CHARGE)
        assert len(usage_rows(tenant)) == 1

    def test_what_is_kept_cannot_be_read_in_the_database(self, gateway: Gateway):
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        answer = ask(gateway, tenant, "k", model=model)
        (kept,) = claims(tenant)
        assert kept.is_finished
        assert len(kept.answer) > len(answer.body)
        assert "chat.completion" not in kept.answer
        assert PROMPT[0]["content"] not in kept.body_hmac

    def test_several_choices_and_a_usage_frame(self, gateway: Gateway):
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        body = {"model": model, "stream": True, "n": 2, "stream_options": {"include_usage": True}}
        first, again = (ask(gateway, tenant, "k", **body) for _ in range(2))
        assert first.frames[-1]["choices"] == []
        assert again.body == first.body

    def test_comments_are_part_of_what_was_sent(self, gateway: Gateway, settings):
        settings.COMMENT_FRAME_EVERY_S = 0.05
        tenant, model = gateway.tenant(), gateway.add_model(Reply(before_content_s=0.3))
        first = ask(gateway, tenant, "k", model=model, stream=True)
        assert b": keep-alive" in first.body
        assert ask(gateway, tenant, "k", model=model, stream=True).body == first.body

    def test_an_empty_wallet_replays(self, gateway: Gateway):
        tenant, model = gateway.tenant(credit="0.01"), gateway.add_model(Reply(overrun=1_000))
        first = ask(gateway, tenant, "k", model=model, max_tokens=300)
        assert first.status == 200
        assert ask(gateway, tenant, "other", model=model, max_tokens=300).status == 402
        assert ask(gateway, tenant, "k", model=model, max_tokens=300).body == first.body

    def test_a_call_that_cannot_be_made_any_more_replays(self, gateway: Gateway):
        from accounts.models import ApiKey

        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        key = key_of(tenant)
        caller = Tenant(key.secret, tenant.email)
        first = ask(gateway, caller, "k", model=model)
        ApiKey.objects.filter(pk=key.row.pk).update(models_allowed=["acme/another"], auth_epoch=1)
        assert ask(gateway, caller, "other", model=model).status == 403
        assert ask(gateway, caller, "k", model=model).body == first.body

    def test_a_stream_that_was_cut_after_content_was_charged_so_it_is_kept(self, gateway: Gateway):
        tenant, model = gateway.tenant(), gateway.add_model(Reply(cut=Cut(frames=5)))
        first, again = (ask(gateway, tenant, "k", model=model, stream=True) for _ in range(2))
        assert first.frames[-1]["error"]
        assert again.body == first.body
        assert_in_order(gateway, tenant, only_row(tenant).charge_nano)

    def test_the_sdk_repeats_a_call(self, gateway: Gateway):
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        client = OpenAI(api_key=tenant.key, base_url=f"{gateway.url}/v1", max_retries=0)
        headers = {"Idempotency-Key": "from the SDK"}

        def create(text: str):
            messages: Any = [{"role": "user", "content": text}]
            return client.chat.completions.with_raw_response.create(
                model=model, messages=messages, extra_headers=headers
            )

        first, again = create("hello"), create("hello")
        assert first.parse() == again.parse()
        assert again.headers["Idempotent-Replayed"] == "true"
        with pytest.raises(APIStatusError) as caught:
            create("something else")
        assert caught.value.status_code == 422
        assert caught.value.code == "idempotency_mismatch"


class TestRefusal:
    @pytest.mark.parametrize("path", [CHAT, "/api/chat/completions"])
    def test_another_body(self, gateway: Gateway, path: str):
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        assert ask(gateway, tenant, "k", path, model=model).status == 200
        answer = ask(gateway, tenant, "k", path, model=model, max_tokens=5)
        assert_error(answer, path, 422, "invalid_request_error", "idempotency_mismatch")
        assert len(gateway.calls_of(model)) == 1

    @both
    def test_a_call_that_runs(self, gateway: Gateway, stream: bool):
        gate = Gate(1)
        tenant, model = gateway.tenant(), gateway.add_model(gate.script)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(ask, gateway, tenant, "k", model=model, stream=stream)
            gate.wait_for_call()
            answer = ask(gateway, tenant, "k", model=model, stream=stream)
            assert_error(answer, CHAT, 409, "conflict_error", "idempotency_in_progress")
            assert answer.headers["retry-after"] == "1"
            assert ask(gateway, tenant, "k", model=model, stream=stream, max_tokens=5).status == 422
            gate.open()
            assert first.result().status == 200
        assert ask(gateway, tenant, "k", model=model, stream=stream).body == first.result().body
        assert len(gateway.calls_of(model)) == 1

    @pytest.mark.parametrize("key", ["", "   ", "x" * 256, "caf\u00e9".encode(), b"a\tb"])
    def test_a_bad_key(self, gateway: Gateway, key: str | bytes):
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        answer = ask(gateway, tenant, key, model=model)
        assert_error(answer, CHAT, 400, "invalid_request_error", "invalid_request")
        assert "Idempotency-Key" in answer.json["error"]["message"]
        assert "x-ratelimit-limit" in answer.headers

    def test_two_keys(self, gateway: Gateway):
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        with raw_call(gateway, tenant, "a\r\nIdempotency-Key: b", model=model) as raw:
            assert raw.send().status == 400

    def test_the_longest_key(self, gateway: Gateway):
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        assert ask(gateway, tenant, "~" * 255, model=model).status == 200

    def test_a_request_that_was_never_made_gets_its_own_error(self, gateway: Gateway):
        assert ask(gateway, gateway.tenant(), "k", model="acme/nothing").status == 400

    def test_another_key_of_the_same_organization_knows_nothing_of_it(self, gateway: Gateway):
        alice, model = gateway.tenant(), gateway.add_model(Reply())
        bob = Tenant(key_of(alice).secret, alice.email)
        first = ask(gateway, alice, "k", model=model)
        other = ask(gateway, bob, "k", model=model)
        assert first.json["id"] != other.json["id"]
        assert len(gateway.calls_of(model)) == 2


class TestFreed:
    @both
    @pytest.mark.parametrize(
        "reply",
        [Reply(status=500), Reply(status=429), Reply(status=400), Reply(cut=Cut(frames=0, body_bytes=10))],
        ids=["failed", "busy", "refused", "cut"],
    )
    def test_an_error_is_not_kept(self, gateway: Gateway, reply: Reply, stream: bool):
        tenant, model = gateway.tenant(), gateway.add_model(reply)
        for _ in range(2):
            assert ask(gateway, tenant, "k", model=model, stream=stream).status != 200
            wait_until(lambda: claims(tenant) == [], what="the key to be free")
        assert len(gateway.calls_of(model)) == (2 if reply.status == 400 else 4)
        assert_in_order(gateway, tenant, 0)

    def test_a_provider_that_cannot_be_reached(self, gateway: Gateway):
        from komilion.env import free_port

        name = gateway.add_provider(f"gone-{free_port()}", base_url=f"http://127.0.0.1:{free_port()}/v1")
        tenant, model = gateway.tenant(), gateway.add_model(Reply(), provider=name)
        assert ask(gateway, tenant, "k", model=model).status == 503
        wait_until(lambda: claims(tenant) == [], what="the key to be free")
        assert_in_order(gateway, tenant, 0)

    def test_a_stream_that_said_nothing_but_comments(self, gateway: Gateway, settings):
        settings.COMMENT_FRAME_EVERY_S, settings.FIRST_CONTENT_TIMEOUT_S = 0.05, 0.3
        tenant, model = gateway.tenant(), gateway.add_model(Reply(before_content_s=30))
        answer = ask(gateway, tenant, "k", model=model, stream=True)
        assert answer.frames[-1]["error"]
        wait_until(lambda: claims(tenant) == [], what="the key to be free")

    def test_a_hold_that_expired(self, gateway: Gateway):
        """As after a crash: the reaper releases hold and key, and the call can be made again."""
        from billing.ledger.reap import reap
        from billing.models import Hold

        gate = Gate()
        tenant, model = gateway.tenant(), gateway.add_model(gate.script)
        with raw_call(gateway, tenant, "k", model=model) as raw:
            raw.send()
            gate.wait_for_call()
            Hold.objects.filter(pk=claims(tenant)[0].request_id).update(process_id="p-dead")
            reap()
            assert claims(tenant) == []
            with raw_call(gateway, tenant, "k", model=model) as again:
                again.send()
                wait_until(lambda: len(gateway.calls_of(model)) == 2, what="the call to be made again")
                gate.open()
                assert (raw.status, again.status) == (200, 200)
        wait_until(lambda: nothing_is_held(gateway, tenant))


class TestLeaving:
    """Who comes with an Idempotency-Key comes again: the answer is read to its end, wherever it comes from."""

    @both
    def test_nothing_is_cancelled_and_the_whole_answer_is_kept(self, gateway: Gateway, stream: bool):
        gate = Gate(3)
        tenant, model = gateway.tenant(), gateway.add_model(gate.script, provider=CANCELLING)
        with raw_call(gateway, tenant, "k", model=model, stream=stream) as raw:
            raw.send()
            gate.wait_for_call()
            if stream:
                raw.read_frames(3)
            raw.leave(reset=True)
        gate.open()
        row = only_row(tenant)
        assert (row.outcome, row.usage_source) == ("completed", "provider")
        replayed = ask(gateway, tenant, "k", model=model, stream=stream)
        assert replayed.headers["idempotent-replayed"] == "true"
        assert replayed.text
        if stream:
            assert replayed.events[-1] == "[DONE]"
            assert replayed.frames[-1]["x_komilion"]["cost_nano_usd"] == row.charge_nano
        (sent,) = gateway.calls_of(model)
        assert sent.outcome == "completed"
        assert_in_order(gateway, tenant, row.charge_nano)


class TestTooLarge:
    @pytest.fixture(autouse=True)
    def _small(self, settings) -> None:
        settings.IDEMPOTENT_ANSWER_LIMIT_BYTES = 1_500

    @both
    def test_it_says_so_and_the_call_is_not_made_again(self, gateway: Gateway, stream: bool):
        tenant, model = gateway.tenant(), gateway.add_model(Reply(frames=400))
        first = ask(gateway, tenant, "k", model=model, stream=stream)
        assert first.status == 200
        note = (first.frames[-1] if stream else first.json)["x_komilion"]
        assert note["idempotency_kept"] is False
        assert first.headers.get("idempotency-kept") == (None if stream else "false")
        again = ask(gateway, tenant, "k", model=model, stream=stream)
        assert_error(again, CHAT, 409, "conflict_error", "idempotency_not_kept")
        assert again.headers["x-should-retry"] == "false"
        assert len(gateway.calls_of(model)) == 1
        assert_in_order(gateway, tenant, only_row(tenant).charge_nano)
        assert claims(tenant)[0].answer == ""

    def test_a_stream_whose_last_frame_is_too_much(self, gateway: Gateway, settings):
        settings.IDEMPOTENT_ANSWER_LIMIT_BYTES = 4 * 2**20
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        first = ask(gateway, tenant, "k", model=model, stream=True)
        settings.IDEMPOTENT_ANSWER_LIMIT_BYTES = len(first.body) - 1
        second = ask(gateway, tenant, "l", model=model, stream=True)
        assert second.frames[-1]["x_komilion"]["idempotency_kept"] is False
        assert "idempotency_kept" not in first.frames[-1]["x_komilion"]

    def test_an_answer_of_exactly_the_limit_is_kept(self, gateway: Gateway, settings):
        settings.IDEMPOTENT_ANSWER_LIMIT_BYTES = 4 * 2**20
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        first = ask(gateway, tenant, "k", model=model)
        settings.IDEMPOTENT_ANSWER_LIMIT_BYTES = len(first.body)
        assert "idempotency-kept" not in ask(gateway, tenant, "l", model=model).headers


@both
def test_an_answer_of_megabytes_is_kept(gateway: Gateway, stream: bool):
    """In one frame, since a stream of many would only take long."""
    tenant = gateway.tenant(credit="1000.00")
    model = gateway.add_model(Reply(frames=2, content="word " * 600_000, usage=Tokens(25, 12)), **ENDLESS)
    first = ask(gateway, tenant, "k", model=model, stream=stream)
    assert 2 * 2**20 < len(first.body) < 4 * 2**20
    again = ask(gateway, tenant, "k", model=model, stream=stream)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.body == first.body


def test_twenty_at_once_are_one_call(gateway: Gateway):
    gate = Gate()
    tenant, model = gateway.tenant(), gateway.add_model(gate.script)

    def insist(_: int) -> Answer:
        def asked() -> Answer | None:
            answer = ask(gateway, tenant, "k", model=model)
            assert answer.status in {200, 409}, answer.body
            return answer if answer.status == 200 else None

        return wait_until(asked, 20, "an answer")

    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(insist, number) for number in range(20)]
        gate.wait_for_call()
        gate.open()
        bodies = {future.result().body for future in answers}
    assert len(bodies) == 1
    assert len(gateway.calls_of(model)) == 1
    assert_in_order(gateway, tenant, CHARGE)


class TestWithoutTheLedger:
    @both
    def test_an_answer_that_was_journaled_is_kept_when_the_database_is_back(
        self, gateway: Gateway, database: Database, settings, stream: bool
    ):
        """The live client is told that the bill is pending; in that word alone the two answers differ."""
        settings.SETTLEMENT_WAIT_S = 0.3
        gate = Gate(1)
        tenant, model = gateway.tenant(), gateway.add_model(gate.script)
        with second_server() as server, ThreadPoolExecutor(1) as pool:
            first = pool.submit(ask, server, tenant, "k", model=model, stream=stream)
            gate.wait_for_call()
            database.is_away = True
            gate.open()
            live = first.result().body
            database.is_away = False

            def again() -> Answer | None:
                answer = ask(gateway, tenant, "k", model=model, stream=stream)
                return answer if answer.status == 200 else None

            replayed = wait_until(again, 10, "the journal to be replayed")
        assert b'"settlement":"pending"' in live
        assert replayed.body == live.replace(b'"settlement":"pending"', b'"settlement":"settled"')
        assert_in_order(gateway, tenant, CHARGE)

    def test_a_replay_needs_the_database(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
        from django.db import DatabaseError

        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        ask(gateway, tenant, "k", model=model)

        def away(*_: object) -> None:
            raise DatabaseError("away")

        monkeypatch.setattr("routing.gateway.idempotency.idempotent_answer", away)
        answer = ask(gateway, tenant, "k", model=model)
        assert_error(answer, CHAT, 503, "service_unavailable", "ledger_unavailable")

    def test_an_answer_that_was_purged_meanwhile(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        ask(gateway, tenant, "k", model=model)
        monkeypatch.setattr("routing.gateway.idempotency.idempotent_answer", lambda *_: "")
        assert ask(gateway, tenant, "k", model=model).status == 409


def test_an_answer_that_no_key_decrypts_any_more_is_not_kept(gateway: Gateway):
    from billing.models import IdempotentCall

    tenant, model = gateway.tenant(), gateway.add_model(Reply())
    ask(gateway, tenant, "k", model=model)
    IdempotentCall.objects.filter(pk=claims(tenant)[0].pk).update(answer="gAAAAA")
    answer = ask(gateway, tenant, "k", model=model)
    assert_error(answer, CHAT, 409, "conflict_error", "idempotency_not_kept")


def test_a_bill_in_an_answer_that_is_kept_says_settled(gateway: Gateway):
    tenant, model = gateway.tenant(), gateway.add_model(Reply())
    ask(gateway, tenant, "k", model=model, stream=True)
    replayed = ask(gateway, tenant, "k", model=model, stream=True)
    assert re.search(rb'"settlement":\s*"settled"', replayed.body)
    assert json.loads(replayed.events[-2])["x_komilion"]["cost_nano_usd"] == CHARGE
