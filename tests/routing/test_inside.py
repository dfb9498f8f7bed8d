"""Chats that the process asks for on behalf of a caller."""

from collections.abc import AsyncGenerator, Callable

import pytest

from routing.gateway.inside import ChatRefused, Cost, Event, Finished, TextDelta, ToolCallDelta, ask, ask_in_slot
from routing.gateway.metered import admitted
from routing.gateway.services import Services
from tests.fakes.client import PROMPT
from tests.fakes.replies import Reply, ToolCall
from tests.routing.books import only_row, organization_id
from tests.routing.gates import Gate
from tests.routing.inside_process import vouch, with_services
from tests.stand import Gateway, Tenant


def answer_to(tenant: Tenant, model: str, **body: object) -> list[Event]:
    """All that comes."""

    async def run(services: Services) -> list[Event]:
        request = {"model": model, "messages": PROMPT, **body}
        return [event async for event in ask(vouch(services, tenant), request, services)]

    return with_services(run)


def texts(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


class TestAnswers:
    def test_text_comes_as_it_is_written_and_then_the_bill(self, gateway: Gateway):
        tenant = gateway.tenant(credit="1.00")
        *deltas, end = answer_to(tenant, gateway.add_model(Reply(content="Say it in parts.", frames=4)))
        assert texts(deltas) == "Say it in parts."
        assert len(deltas) == 4
        assert isinstance(end, Finished)
        row = only_row(tenant)
        assert (row.request_id, row.charge_nano) == (end.request_id, end.bill["cost_nano_usd"])
        assert (end.finish_reason, end.model, row.streamed) == ("stop", row.model, True)
        assert end.usage["completion_tokens"] == row.usage["output"]

    def test_a_call_that_was_made_before_is_answered_and_charged_once(self, gateway: Gateway):
        tenant = gateway.tenant(credit="1.00")
        model = gateway.add_model(Reply(content="Say it in parts.", frames=4))

        async def run(services: Services) -> list[Event]:
            request = {"model": model, "messages": PROMPT}
            asked = ask(vouch(services, tenant), request, services, idempotency_key="job-1")
            return [event async for event in asked]

        first, again = with_services(run), with_services(run)
        assert texts(first) == texts(again) == "Say it in parts."
        assert isinstance(first[-1], Finished)
        assert isinstance(again[-1], Finished)
        assert again[-1].request_id == first[-1].request_id == only_row(tenant).request_id
        assert again[-1].bill == first[-1].bill

    def test_tool_calls_come_in_parts(self, gateway: Gateway, alice: Tenant):
        model = gateway.add_model(Reply(tool_calls=(ToolCall("look_up", '{"city":"Prague"}'),)), capabilities="tools")
        tools = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
        *deltas, end = answer_to(alice, model, tools=tools)
        calls = [event for event in deltas if isinstance(event, ToolCallDelta)]
        assert (calls[0].index, calls[0].id, calls[0].name) == (0, "call_abc123", "look_up")
        assert "".join(call.arguments for call in calls) == '{"city":"Prague"}'
        assert isinstance(end, Finished)
        assert end.finish_reason == "tool_calls"

    def test_it_is_the_callers_and_counts_for_its_limits(self, gateway: Gateway):
        from accounts.models import ApiKey

        tenant = gateway.tenant()
        ApiKey.objects.filter(organization_id=organization_id(tenant)).update(limits={"requests_per_minute": 1})
        model = gateway.add_model(Reply())

        async def run(services: Services) -> list[int]:
            statuses = []
            for _ in range(2):
                try:
                    request = {"model": model, "messages": PROMPT}
                    _events = [event async for event in ask(vouch(services, tenant), request, services)]
                    statuses.append(200)
                except ChatRefused as refused:
                    statuses.append(refused.status)
            return statuses

        assert with_services(run) == [200, 429]

    def test_what_runs_in_the_callers_own_slot_takes_none_more_but_is_a_request(self, gateway: Gateway):
        from accounts.models import ApiKey

        tenant = gateway.tenant(credit="1.00")
        limits = {"requests_per_minute": 4, "parallel": 1}
        ApiKey.objects.filter(organization_id=organization_id(tenant)).update(limits=limits)
        request = {"model": gateway.add_model(Reply(content="Yes.")), "messages": PROMPT}

        async def run(services: Services) -> list[str]:
            renew, ends = vouch(services, tenant), []

            async def note_end(asked: Callable[..., AsyncGenerator[Event]]) -> None:
                try:
                    events = [event async for event in asked(renew, request, services, cost=Cost())]
                    ends.append(events[-1].finish_reason)
                except ChatRefused as refused:
                    ends.append(refused.reason)

            async with admitted(await renew(), services):
                for asked in (ask_in_slot, ask, ask_in_slot):
                    await note_end(asked)
            for asked in (ask, ask_in_slot):
                await note_end(asked)
            return ends

        assert with_services(run) == ["stop", "too_many_parallel_requests", "stop", "stop", "rate_limited"]


class TestRefusals:
    def test_what_any_client_would_be_told(self, gateway: Gateway, alice: Tenant):
        with pytest.raises(ChatRefused, match="There is no model 'acme/none'") as caught:
            answer_to(alice, "acme/none")
        assert (caught.value.status, caught.value.reason) == (400, "unknown_model")

    def test_an_empty_wallet(self, gateway: Gateway):
        with pytest.raises(ChatRefused) as caught:
            answer_to(gateway.tenant(credit="0.00"), gateway.add_model(Reply()))
        assert (caught.value.status, caught.value.reason) == (402, "insufficient_balance")

    def test_a_provider_that_fails_in_the_middle(self, gateway: Gateway, alice: Tenant):
        with pytest.raises(ChatRefused) as caught:
            answer_to(alice, gateway.add_model(Reply(error_after=2)))
        assert caught.value.status == 502

    def test_what_was_refused_costs_nothing(self, alice: Tenant):
        cost = Cost()

        async def run(services: Services) -> None:
            request = {"model": "acme/none", "messages": PROMPT}
            with pytest.raises(ChatRefused):
                _events = [event async for event in ask(vouch(services, alice), request, services, cost=cost)]

        with_services(run)
        assert cost == Cost()


class TestLeaving:
    def test_who_stops_reading_is_a_client_that_left(self, gateway: Gateway):
        tenant, gate = gateway.tenant(credit="1.00"), Gate(before=2)
        model = gateway.add_model(gate.script, provider="up-cancelling")

        cost = Cost()

        async def run(services: Services) -> str:
            events = ask(vouch(services, tenant), {"model": model, "messages": PROMPT}, services, cost=cost)
            first = await anext(events)
            assert isinstance(first, TextDelta)
            await events.aclose()
            return first.text

        assert with_services(run)
        gate.open()
        row = only_row(tenant)
        assert row.outcome == "client_left"
        assert (cost.request_id, cost.charge, cost.model) == (row.request_id, row.charge_nano, row.model)
        assert cost.charge > 0
        assert gateway.wallet(tenant.email)["held"] == "0.00"
