"""Caps of keys as callers meet them: lowered output, 402 that names the cap, streams that end, crowds."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from decimal import Decimal

import pytest

from komilion.common.clock import utc_now
from komilion.common.money import NANO_PER_USD
from tests.fakes.client import RawCall
from tests.fakes.journal import Tokens
from tests.fakes.replies import Reply
from tests.routing.answers import assert_error, key_of
from tests.routing.books import assert_in_order, cap_use, charge_of, first_key_id, only_row
from tests.routing.books import set_caps as cap
from tests.routing.gates import Gate
from tests.stand import Gateway, Tenant
from tests.waiting import wait_until

CALLERS = 20
SERVED = 5
USED = re.compile(r"the (\w+) cap of (.+?), \$([\d.]+), leaves \$([\d.]+): \$([\d.]+) is spent")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_call_within_its_cap_spends_what_it_costs(gateway: Gateway, stream: bool):
    tenant, model = gateway.tenant(), gateway.add_model(Reply())
    cap(tenant, day=NANO_PER_USD, total=2 * NANO_PER_USD)
    assert gateway.chat(tenant, model, stream=stream, max_tokens=100).status == 200
    charge = charge_of(Tokens(25, 12))
    assert cap_use(tenant, "day") == cap_use(tenant, "total") == (0, charge)
    assert_in_order(gateway, tenant, charge)


@pytest.mark.parametrize(
    ("period", "word", "resets"),
    [
        ("day", "daily", lambda today: today + timedelta(days=1)),
        ("month", "monthly", lambda today: (today.replace(day=1) + timedelta(days=31)).replace(day=1)),
        ("total", "total", None),
    ],
)
def test_402_names_the_cap_what_is_used_and_when_it_begins_anew(gateway: Gateway, period: str, word: str, resets):
    tenant, model = gateway.tenant(), gateway.add_model(Reply())
    cap(tenant, **{period: 10_000_000})
    assert gateway.chat(tenant, model, max_tokens=300).status == 200
    spent = charge_of(Tokens(25, 12))
    answer = gateway.chat(tenant, model, max_tokens=1_000, messages=[{"role": "user", "content": "word " * 2_000}])
    assert_error(answer, "/v1", 402, "billing_error", "key_cap_reached")
    message = answer.json["error"]["message"]
    found = USED.search(message)
    assert found is not None, message
    assert found.groups()[:3] == (word, "this key", "0.01")
    assert [Decimal(amount) * NANO_PER_USD for amount in found.groups()[3:]] == [10_000_000 - spent, spent]
    expected = "It does not reset" if resets is None else f"It resets at {resets(utc_now().date())} 00:00 UTC."
    assert expected in message
    assert "reserved by running calls" not in message
    assert len(gateway.calls_of(model)) == 1


def test_402_says_whose_cap_it_is_and_what_running_calls_hold(gateway: Gateway):
    from accounts.models import ApiKey

    gate = Gate()
    tenant, model = gateway.tenant(), gateway.add_model(gate.script)
    made = key_of(tenant)
    ApiKey.objects.filter(pk=made.row.pk).update(parent_id=first_key_id(tenant))
    cap(tenant, total=10_000_000)
    with RawCall(gateway.url, tenant.key, model=model, max_tokens=300) as raw:
        raw.send()
        gate.wait_for_call()
        answer = gateway.chat(Tenant(made.secret, tenant.email), model, max_tokens=300)
        gate.open()
        assert raw.status == 200
    assert answer.status == 402
    assert "total cap of the key that made this one, $0.01, leaves" in answer.json["error"]["message"]
    assert "reserved by running calls" in answer.json["error"]["message"]


def test_a_cap_that_covers_the_start_lowers_the_output(gateway: Gateway):
    tenant, model = gateway.tenant(), gateway.add_model(Reply())
    cap(tenant, day=20_000_000)
    note = gateway.chat(tenant, model, max_tokens=5_000).json["x_komilion"]
    (lowered,) = note["adjusted"]
    assert (lowered["param"], lowered["reason"]) == ("max_tokens", "key_cap_reached")
    (sent,) = gateway.calls_of(model)
    assert charge_of(Tokens(0, sent.body["max_tokens"])) <= 20_000_000


def test_a_cap_that_is_lifted_is_gone_at_once(gateway: Gateway):
    tenant, model = gateway.tenant(), gateway.add_model(Reply())
    cap(tenant, day=1)
    assert gateway.chat(tenant, model).status == 402
    cap(tenant, day=None)
    assert gateway.chat(tenant, model).status == 200


def test_another_key_of_the_organization_is_not_concerned(gateway: Gateway):
    tenant, model = gateway.tenant(), gateway.add_model(Reply())
    other = Tenant(key_of(tenant).secret, tenant.email)
    cap(tenant, day=1)
    assert (gateway.chat(tenant, model).status, gateway.chat(other, model).status) == (402, 200)


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}], ids=["plain", "asked"])
def test_a_stream_ends_where_the_cap_does(gateway: Gateway, settings, options: dict):
    settings.STREAM_HOLD_OUTPUT_TOKENS = settings.START_OUTPUT_TOKENS = 20
    gate, other = Gate(1), Gate()
    tenant = gateway.tenant()
    cap(tenant, total=20_000_000)
    model, taking = gateway.add_model(gate.script_of(60)), gateway.add_model(other.script)
    with (
        RawCall(gateway.url, tenant.key, model=model, stream=True, **options) as raw,
        RawCall(gateway.url, tenant.key, model=taking) as rest,
    ):
        raw.send().read_frames(1)
        rest.send()  # it reserves all that the cap leaves
        other.wait_for_call()
        gate.open()
        raw.rest()
        other.open()
        assert rest.status == 200
    *_, last = [json.loads(line[6:]) for line in raw.payload.split(b"\n\n") if line.startswith(b"data: {")]
    assert last["x_komilion"]["stopped"] == "key_cap_reached"
    row = only_row(tenant, model)
    assert (row.outcome, row.usage_source) == ("key_cap_reached", "estimated")
    wait_until(lambda: cap_use(tenant, "total")[0] == 0, what="every hold to end")
    charge = row.charge_nano + only_row(tenant, taking).charge_nano
    assert cap_use(tenant, "total") == (0, charge)
    assert_in_order(gateway, tenant, charge)


def test_a_call_that_crosses_extensions_spends_once(gateway: Gateway, settings):
    settings.STREAM_HOLD_OUTPUT_TOKENS = settings.START_OUTPUT_TOKENS = 20
    tenant, model = gateway.tenant(), gateway.add_model(Reply(frames=150))
    cap(tenant, month=NANO_PER_USD)
    assert gateway.chat(tenant, model, stream=True).status == 200
    (sent,) = gateway.calls_of(model)
    assert_in_order(gateway, tenant, charge_of(sent.billed))
    assert cap_use(tenant, "month") == (0, charge_of(sent.billed))


def test_an_overrun_is_spent_in_full(gateway: Gateway):
    tenant, model = gateway.tenant(), gateway.add_model(Reply(overrun=1_000))
    cap(tenant, total=12_000_000)
    assert gateway.chat(tenant, model, max_tokens=300).status == 200
    reserved, spent = cap_use(tenant, "total")
    assert (reserved, spent > 12_000_000) == (0, True)
    assert gateway.chat(tenant, model, max_tokens=1).status == 402


def test_twenty_calls_at_once_on_a_cap_for_five_are_five(gateway: Gateway):
    gate, measured = Gate(), Gate()
    tenant = gateway.tenant()
    body = {"max_tokens": 200}  # all of it must be covered to start, so a hold is whole or refused
    cap(tenant, day=15_000_000)
    with RawCall(gateway.url, tenant.key, model=gateway.add_model(measured.script), **body) as raw:
        raw.send()
        measured.wait_for_call()
        hold = cap_use(tenant, "day")[0]
        measured.open()
        assert raw.status == 200
    cap(tenant, day=None)
    cap(tenant, day=SERVED * hold + hold // 2)
    model = gateway.add_model(gate.script)
    with ExitStack() as stack, ThreadPoolExecutor(CALLERS) as pool:
        raws = [stack.enter_context(RawCall(gateway.url, tenant.key, model=model, **body)) for _ in range(CALLERS)]
        statuses = [pool.submit(lambda raw=raw: raw.send().status) for raw in raws]
        wait_until(lambda: sum(future.done() for future in statuses) == CALLERS - SERVED, what="the refusals")
        wait_until(lambda: len(gateway.calls_of(model)) == SERVED, what="the calls to arrive")
        gate.open()
        counted = sorted(future.result() for future in statuses)
    assert counted == [200] * SERVED + [402] * (CALLERS - SERVED)
    assert len(gateway.calls_of(model)) == SERVED
    charge = charge_of(Tokens(25, 12))
    wait_until(lambda: cap_use(tenant, "day") == (0, SERVED * charge), what="the settlements")
    assert_in_order(gateway, tenant, (SERVED + 1) * charge)
