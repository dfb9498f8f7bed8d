"""The unmodified `openai` package drives a live gateway and meets what it expects from OpenAI."""

from decimal import Decimal

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletion

from tests.contract.conftest import Person
from tests.fakes.presets import PERSON
from tests.fakes.replies import Cut, Reply
from tests.routing.gates import words
from tests.stand import CANCELLING, Gateway, Tenant

STYLES = ["spaced", "crlf", "cr", "comments", "rechunk=1", "split=11", "role", "nodone"]
ASK = [{"role": "user", "content": "What is quantum computing?"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Tells the {name}.",
            "parameters": {
                "type": "object",
                "properties": {"location": {"type": "string"}},
                "required": ["location"],
                "additionalProperties": False,
            },
            "strict": True,
        },
    }
    for name in ("weather", "time")
]
# 25 tokens in at 3.00, 12 out at 15.00 US dollars per million, and a quarter of that on top.
PLAIN_CHARGE_NANO_USD = 318_750


def ours(answer: object) -> dict[str, object]:
    """`x_komilion` of a completion or chunk."""
    return answer.model_extra["x_komilion"]


class TestModels:
    def test_list(self, gateway: Gateway, client: OpenAI):
        model = gateway.add_model()
        listed = {row.id: row for row in client.models.list()}
        assert listed[model].object == "model"
        assert listed[model].owned_by
        assert listed["auto"].model_extra["pricing"] == {"prompt": "-1", "completion": "-1"}  # type: ignore[index]
        assert client.models.retrieve("neo-mode/frugal").id == "neo-mode/frugal"

    def test_retrieve_an_id_with_a_slash(self, gateway: Gateway, client: OpenAI):
        model = gateway.add_model()
        assert client.models.retrieve(model).id == model

    def test_retrieve_unknown(self, client: OpenAI):
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve("acme/there-is-no-such-model")
        assert caught.value.code == "model_not_found"


class TestCreate:
    def test_answer(self, gateway: Gateway, client: OpenAI):
        model = gateway.add_model()
        completion = client.chat.completions.create(model=model, messages=ASK)
        assert isinstance(completion, ChatCompletion)
        assert completion.id.startswith("gen-")
        assert completion.model == model
        assert completion.choices[0].message.content.startswith("Quantum computing")
        assert completion.choices[0].finish_reason == "stop"
        assert completion.usage.total_tokens == 37

    def test_charge(self, gateway: Gateway):
        model = gateway.add_model()
        bob = gateway.tenant(credit="10.00")
        with OpenAI(api_key=bob.key, base_url=f"{gateway.url}/v1", max_retries=0) as client:
            completion = client.chat.completions.create(model=model, messages=ASK)
        assert ours(completion)["cost_nano_usd"] == PLAIN_CHARGE_NANO_USD
        assert ours(completion)["settlement"] == "settled"
        assert round(completion.usage.model_extra["cost"] * 10**9) == PLAIN_CHARGE_NANO_USD
        wallet = gateway.wallet(bob.email)
        assert Decimal(wallet["available"]) == 10 - Decimal(PLAIN_CHARGE_NANO_USD) / 10**9
        assert Decimal(wallet["held"]) == 0

    def test_one_id_everywhere(self, gateway: Gateway, client: OpenAI):
        raw = client.chat.completions.with_raw_response.create(model=gateway.add_model(), messages=ASK)
        completion = raw.parse()
        assert completion.id == raw.headers["x-request-id"] == raw.headers["x-generation-id"]

    def test_several_choices(self, gateway: Gateway, client: OpenAI):
        completion = client.chat.completions.create(
            model=gateway.add_model("ok,frames=3"), messages=ASK, n=3, max_tokens=50
        )
        assert [choice.index for choice in completion.choices] == [0, 1, 2]
        assert completion.usage.completion_tokens == 9

    def test_reasoning_and_refusal(self, gateway: Gateway, client: OpenAI):
        thought = client.chat.completions.create(model=gateway.add_model("reasoning"), messages=ASK)
        assert thought.choices[0].message.model_extra["reasoning_content"].startswith("First think")
        refused = client.chat.completions.create(model=gateway.add_model("refusal"), messages=ASK)
        assert refused.choices[0].message.refusal == "I cannot help with that."

    @pytest.mark.parametrize("base", ["/v1", "/api", "/api/v1", "/api/gateway"])
    def test_every_base_url(self, gateway: Gateway, alice: Tenant, base: str):
        model = gateway.add_model()
        with OpenAI(api_key=alice.key, base_url=gateway.url + base, max_retries=0) as client:
            assert client.chat.completions.create(model=model, messages=ASK).model == model
            assert client.models.retrieve(model).id == model


class TestStream:
    def test_chunks(self, gateway: Gateway, client: OpenAI):
        model = gateway.add_model("ok,frames=20")
        with client.chat.completions.create(model=model, messages=ASK, stream=True) as stream:
            chunks = list(stream)
        assert {chunk.id for chunk in chunks} == {stream.response.headers["x-request-id"]}
        assert {chunk.model for chunk in chunks} == {model}
        assert chunks[0].choices[0].delta.role == "assistant"
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert len(text.split()) == 20

    def test_usage_rides_on_the_finish_chunk(self, gateway: Gateway, client: OpenAI):
        with client.chat.completions.create(model=gateway.add_model(), messages=ASK, stream=True) as stream:
            *others, last = stream
        assert last.choices[0].finish_reason == "stop"
        assert last.usage.completion_tokens == 12
        assert ours(last)["cost_nano_usd"] == PLAIN_CHARGE_NANO_USD
        assert not any(chunk.usage for chunk in others)

    def test_usage_chunk_where_it_is_asked_for(self, gateway: Gateway, client: OpenAI):
        with client.chat.completions.create(
            model=gateway.add_model(), messages=ASK, stream=True, stream_options={"include_usage": True}
        ) as stream:
            *others, last = stream
        assert last.choices == []
        assert last.usage.total_tokens == 37
        assert ours(last)["cost_nano_usd"] == PLAIN_CHARGE_NANO_USD
        assert not any(chunk.usage for chunk in others)

    def test_helper(self, gateway: Gateway, client: OpenAI):
        with client.chat.completions.stream(model=gateway.add_model(), messages=ASK) as stream:
            deltas = [event.delta for event in stream if event.type == "content.delta"]
            final = stream.get_final_completion()
        assert "".join(deltas) == final.choices[0].message.content
        assert final.usage.completion_tokens == 12

    def test_helper_with_a_schema(self, gateway: Gateway, client: OpenAI):
        with client.chat.completions.stream(
            model=gateway.add_model("json"), messages=ASK, response_format=Person
        ) as stream:
            final = stream.get_final_completion()
        assert final.choices[0].message.parsed == Person(name="Ada", age=36)

    @pytest.mark.parametrize("style", STYLES)
    def test_any_style_of_the_provider(self, gateway: Gateway, client: OpenAI, style: str):
        model = gateway.add_model(f"ok,{style}")
        with client.chat.completions.create(model=model, messages=ASK, stream=True) as stream:
            chunks = list(stream)
        assert len("".join(chunk.choices[0].delta.content or "" for chunk in chunks).split()) == 12
        assert ours(chunks[-1])["cost_nano_usd"] == PLAIN_CHARGE_NANO_USD

    def test_an_error_in_the_middle(self, gateway: Gateway, client: OpenAI):
        model = gateway.add_model("ok,error=4")
        stream = client.chat.completions.create(model=model, messages=ASK, stream=True)
        with stream, pytest.raises(openai.APIError):
            list(stream)

    def test_leaving_early(self, gateway: Gateway, client: OpenAI):
        model = gateway.add_model("drip", provider=CANCELLING)
        with client.chat.completions.create(model=model, messages=ASK, stream=True) as stream:
            assert next(iter(stream)).model == model
        assert client.chat.completions.create(model=gateway.add_model(), messages=ASK).id


class TestFailover:
    """Another provider, or another model, takes over; the package sees nothing odd."""

    @pytest.fixture
    def fallback(self, gateway: Gateway) -> str:
        return gateway.add_model(Reply(frames=24), provider=CANCELLING)

    def test_before_the_answer(self, gateway: Gateway, client: OpenAI, fallback: str):
        model = gateway.add_model(Reply(status=503))
        answer = client.chat.completions.create(model=model, messages=ASK, extra_body={"models": [fallback]})
        assert answer.model == fallback
        assert ours(answer)["routed_from"] == model

    def test_a_list_of_models_and_no_model(self, gateway: Gateway, client: OpenAI, fallback: str):
        models = [gateway.add_model(Reply(status=503)), fallback]
        answer = client.post("/chat/completions", cast_to=ChatCompletion, body={"models": models, "messages": ASK})
        assert answer.model == fallback

    def test_in_the_middle_of_a_stream(self, gateway: Gateway, client: OpenAI, fallback: str):
        model = gateway.add_model(Reply(frames=24, cut=Cut(frames=9)))
        with client.chat.completions.create(
            model=model, messages=ASK, stream=True, extra_body={"models": [fallback]}
        ) as stream:
            chunks = list(stream)
        assert {chunk.id for chunk in chunks} == {stream.response.headers["x-request-id"]}
        assert [chunk.model for chunk in chunks] == [model] * 9 + [fallback] * (len(chunks) - 9)
        assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant"] + [None] * (len(chunks) - 1)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == words(24)
        assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
        assert ours(chunks[-1])["joined"][0]["model"] == model

    def test_the_helper_puts_it_together(self, gateway: Gateway, client: OpenAI):
        model = gateway.add_model(
            Reply(turns=(Reply(content=PERSON, frames=4, cut=Cut(frames=2)), Reply(content=PERSON)))
        )
        with client.chat.completions.stream(model=model, messages=ASK, response_format=Person) as stream:
            final = stream.get_final_completion()
        assert final.choices[0].message.parsed == Person(name="Ada", age=36)

    def test_what_cannot_be_joined_is_an_error(self, gateway: Gateway, client: OpenAI):
        model = gateway.add_model(Reply(frames=24, cut=Cut(frames=9)))
        other = gateway.add_model(Reply(content="Something else."))
        with (
            pytest.raises(openai.APIError) as caught,
            client.chat.completions.create(
                model=model, messages=ASK, stream=True, extra_body={"models": [other]}
            ) as stream,
        ):
            list(stream)
        assert caught.value.body["reason"] == "provider_error"


class TestTools:
    def test_call(self, gateway: Gateway, client: OpenAI):
        completion = client.chat.completions.create(model=gateway.add_model("tool"), messages=ASK, tools=TOOLS)
        (call,) = completion.choices[0].message.tool_calls
        assert (call.function.name, call.function.arguments) == ("weather", '{"location": "Lund"}')
        assert completion.choices[0].finish_reason == "tool_calls"

    def test_parallel_calls_streamed(self, gateway: Gateway, client: OpenAI):
        with client.chat.completions.stream(
            model=gateway.add_model("tools"), messages=ASK, tools=TOOLS, parallel_tool_calls=True
        ) as stream:
            message = stream.get_final_completion().choices[0].message
        named = [(call.function.name, call.function.parsed_arguments) for call in message.tool_calls]
        assert named == [("weather", {"location": "Lund"}), ("time", {"location": "Umeå"})]

    def test_result_goes_back(self, gateway: Gateway, client: OpenAI):
        model = gateway.add_model("tool")
        first = client.chat.completions.create(model=model, messages=ASK, tools=TOOLS).choices[0].message
        answer = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "rain"}
        client.chat.completions.create(model=model, messages=[*ASK, first, answer], tools=TOOLS)
        sent = gateway.upstream.calls[-1].body["messages"]
        assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"]

    def test_parse(self, gateway: Gateway, client: OpenAI):
        completion = client.chat.completions.parse(
            model=gateway.add_model("json"), messages=ASK, response_format=Person
        )
        assert completion.choices[0].message.parsed == Person(name="Ada", age=36)


class TestErrors:
    """Each refusal arrives as the exception that the package has for it."""

    def refusal(self, client: OpenAI, model: str, **body: object) -> openai.APIStatusError:
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model=model, messages=ASK, **body)
        assert caught.value.request_id.startswith("gen-")
        return caught.value

    def test_wrong_key(self, gateway: Gateway):
        model = gateway.add_model()
        with OpenAI(api_key="ck_wrong", base_url=f"{gateway.url}/v1", max_retries=0) as client:
            error = self.refusal(client, model)
        assert isinstance(error, openai.AuthenticationError)
        assert error.code == "invalid_api_key"

    def test_unknown_model(self, gateway: Gateway, client: OpenAI):
        gateway.add_model(name="acme/spelled-right")
        error = self.refusal(client, "acme/speled-right")
        assert isinstance(error, openai.BadRequestError)
        assert (error.code, error.param) == ("model_not_found", "model")
        assert "acme/spelled-right" in error.message

    def test_bad_parameter(self, gateway: Gateway, client: OpenAI):
        error = self.refusal(client, gateway.add_model(), temperature=99)
        assert isinstance(error, openai.BadRequestError)
        assert error.param == "temperature"

    def test_context_length(self, gateway: Gateway, client: OpenAI):
        error = self.refusal(client, gateway.add_model("context-openai"))
        assert isinstance(error, openai.BadRequestError)
        assert error.code == "context_length_exceeded"

    def test_empty_wallet(self, gateway: Gateway):
        model = gateway.add_model(Reply())
        charlie = gateway.tenant(credit="0.00")
        with OpenAI(api_key=charlie.key, base_url=f"{gateway.url}/v1", max_retries=0) as client:
            error = self.refusal(client, model)
        assert (error.status_code, error.type) == (402, "billing_error")
        assert not gateway.calls_of(model), "nothing may reach the provider"

    def test_suspended_organization(self, gateway: Gateway):
        model = gateway.add_model()
        charlie = gateway.tenant()
        gateway.suspend(charlie)
        with OpenAI(api_key=charlie.key, base_url=f"{gateway.url}/v1", max_retries=0) as client:
            assert isinstance(self.refusal(client, model), openai.PermissionDeniedError)

    def test_own_limit(self, gateway: Gateway):
        """The free tier takes 30 requests a minute, so one of 31 is refused whatever the second."""
        model = gateway.add_model()
        charlie = gateway.tenant(tier="free")

        def call_too_often() -> None:
            with OpenAI(api_key=charlie.key, base_url=f"{gateway.url}/v1", max_retries=0) as client:
                for _ in range(31):
                    client.chat.completions.create(model=model, messages=ASK)

        with pytest.raises(openai.RateLimitError) as caught:
            call_too_often()
        assert int(caught.value.response.headers["retry-after"]) >= 1

    def test_limit_of_the_provider(self, gateway: Gateway, client: OpenAI):
        error = self.refusal(client, gateway.add_model("429"))
        assert isinstance(error, openai.RateLimitError)
        assert error.response.headers["retry-after"] == "7"

    @pytest.mark.parametrize("script", ["500", "503", "529", "401", "402", "quota", "html", "empty", "cut0"])
    def test_trouble_of_the_provider(self, gateway: Gateway, client: OpenAI, script: str):
        error = self.refusal(client, gateway.add_model(script))
        assert isinstance(error, openai.InternalServerError)
        assert error.status_code in {502, 503}
