"""Calls that were refused for want of money are known to the pages for a day, and cost no other call anything."""

import asyncio

from django.conf import settings

from accounts.models import ApiKey
from komilion.common.errors import InsufficientBalance
from komilion.common.refusals import Refusal, last_refusals, of_cap, of_organization, remember
from komilion.common.tasks import all_done
from routing.gateway.refusals import Refusals
from tests.fakes.replies import Reply
from tests.routing.books import first_key_id, set_caps
from tests.stand import Gateway, Tenant
from tests.waiting import wait_until

LONG = [{"role": "user", "content": "word " * 2_000}]
NOWHERE = "redis://127.0.0.1:9/0"


def last(name: str) -> Refusal | None:
    return last_refusals([name], settings.REDIS_URL).get(name)


def key_row(tenant: Tenant) -> ApiKey:
    return ApiKey.objects.get(pk=first_key_id(tenant))


def test_a_call_that_the_wallet_does_not_cover_is_kept_with_what_the_caller_was_told(gateway: Gateway):
    tenant, model = gateway.tenant(credit="0.000001"), gateway.add_model(Reply())
    name = of_organization(key_row(tenant).organization_id)
    answer = gateway.chat(tenant, model, max_tokens=1_000)
    assert answer.status == 402
    wait_until(lambda: last(name) is not None)
    kept = last(name)
    assert kept is not None
    assert (kept.reason, kept.message) == ("insufficient_balance", answer.json["error"]["message"])
    assert kept.needed_nano > 1_000


def test_a_call_that_a_cap_does_not_cover_is_kept_for_the_cap_too(gateway: Gateway):
    tenant, model = gateway.tenant(), gateway.add_model(Reply())
    set_caps(tenant, day=10_000)
    key = key_row(tenant)
    assert gateway.chat(tenant, model, max_tokens=1_000, messages=LONG).status == 402
    wait_until(lambda: last(of_cap(key.pk, "day")) is not None)
    kept = last(of_cap(key.pk, "day"))
    assert kept is not None
    assert kept == last(of_organization(key.organization_id))
    assert (kept.reason, kept.needed_nano > 10_000) == ("key_cap_reached", True)


def test_a_call_that_is_served_leaves_nothing(gateway: Gateway):
    tenant, model = gateway.tenant(), gateway.add_model(Reply())
    assert gateway.chat(tenant, model, max_tokens=10).status == 200
    assert last(of_organization(key_row(tenant).organization_id)) is None


def test_of_many_at_once_the_last_is_kept_and_writes_do_not_pile_up(valkey_url: str, monkeypatch):
    from accounts.access import Caller

    caller = Caller(987_654_321, None, None, 0, 0, "free", {}, {}, None, False, None)
    written: list[int] = []

    def counted(refusals: dict[str, Refusal], url: str) -> None:
        written.append(len(refusals))
        remember(refusals, url)

    async def refuse_often() -> None:
        notes = Refusals(valkey_url)
        for number in range(100):
            notes.note(caller, InsufficientBalance(f"number {number}", needed_nano=1))
            await asyncio.sleep(0)
        await all_done(5)

    monkeypatch.setattr("routing.gateway.refusals.remember", counted)
    asyncio.run(refuse_often())
    kept = last_refusals([of_organization(987_654_321)], valkey_url)
    assert kept[of_organization(987_654_321)].message == "number 99"
    assert sum(written) < 100


def test_without_redis_nothing_is_kept_and_nothing_breaks(caplog):
    remember({"organization:1": Refusal(0.0, "insufficient_balance", "", 0)}, NOWHERE)
    assert last_refusals(["organization:1"], NOWHERE) == {}
    assert last_refusals([], NOWHERE) == {}
    assert "refusals not kept" in caplog.text
