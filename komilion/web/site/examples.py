"""What the pages show as an example: a model of this installation, a request that runs, and its exact bill."""

import json
from dataclasses import dataclass

from billing.prices import Charge, UnpricedUsage
from komilion.common.usage import Usage
from routing.queries import CatalogRows, ModelRow

LOCAL_VENDOR = "local"
INPUT_TOKENS = 1_234
OUTPUT_TOKENS = 567
QUESTION = "What is quantum computing?"
MAX_TOKENS = 60
PER_NANO = 10**6  # tokens x nano-USD per million tokens is in 10^-15 US dollars


@dataclass(frozen=True, slots=True)
class Tab:
    """The same example in one language; `language` as a fence of Markdown names it."""

    label: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a bill: how many tokens, at how many nano-USD per million, and the product as US dollars."""

    name: str
    tokens: int
    listed: int
    amount: str


@dataclass(frozen=True, slots=True)
class Example:
    """A call and its bill; the amounts are exact US dollars, all with as many decimals, so that they stand in line."""

    model: ModelRow
    bill: Charge
    lines: tuple[Line, ...]
    cost: str
    fee: str
    charge: str

    @property
    def answer(self) -> str:
        """The end of what the gateway answers to it, as JSON; amounts are exact decimals."""
        cost = _decimal(self.bill.charge)
        tokens = f'"prompt_tokens": {INPUT_TOKENS}, "completion_tokens": {OUTPUT_TOKENS}'
        return (
            f'"usage": {{\n  {tokens},\n  "cost": {cost}, "cost_nano_usd": {self.bill.charge}\n}},\n'
            f'"x_komilion": {{\n  "provider": {json.dumps(self.model.offer.provider)},\n'
            f'  "model": {json.dumps(self.model.id)},\n  "settlement": "settled"\n}}'
        )


def example_model(rows: CatalogRows) -> ModelRow | None:
    """The model that examples name: one that runs on this machine, else the cheapest; None in an empty catalogue."""
    models = list(rows.models.values())
    local = [model for model in models if model.vendor == LOCAL_VENDOR]
    return min(local or models, key=lambda model: (model.input_charged + model.output_charged, model.id), default=None)


def worked_example(model: ModelRow | None) -> Example | None:
    """The bill of a call of usual size; None where there is no model, or it has no price for plain text."""
    if model is None:
        return None
    price = model.offer.price
    try:
        bill = price.charge(Usage(input=INPUT_TOKENS, output=OUTPUT_TOKENS))
    except UnpricedUsage:
        return None
    components = price.components
    for above, dearer in price.tiers:  # ascending
        components = dearer if above < INPUT_TOKENS else components
    counts = (("input", INPUT_TOKENS), ("output", OUTPUT_TOKENS))
    products = [tokens * components[name] for name, tokens in counts]  # in 10^-15 US dollars
    products += [amount * PER_NANO for amount in (bill.cost, bill.fee, bill.charge)]
    *amounts, cost, fee, charge = _in_line(products)
    lines = tuple(
        Line(name, tokens, components[name], amount) for (name, tokens), amount in zip(counts, amounts, strict=True)
    )
    return Example(model, bill, lines, cost, fee, charge)


def _in_line(products: list[int]) -> list[str]:
    """10^-15 US dollars as decimals, all of the length that the finest needs; at least two."""
    digits = [f"{product:016d}" for product in products]
    decimals = max(2, *(len(text[-15:].rstrip("0")) for text in digits))
    return [f"{int(text[:-15]):,}.{text[-15:][:decimals]}" for text in digits]


def first_request(base_url: str, model_id: str) -> list[Tab]:
    """A first request in three languages; it runs as it stands where `KOMILION_API_KEY` is in the environment."""
    message = {"role": "user", "content": QUESTION}
    curl = " \\\n".join(
        [
            f"curl {base_url}/v1/chat/completions",
            '  -H "Authorization: Bearer $KOMILION_API_KEY"',
            '  -H "Content-Type: application/json"',
            f'  -d \'{{\n    "model": {json.dumps(model_id)},\n    "messages": [{json.dumps(message)}],'
            f'\n    "max_tokens": {MAX_TOKENS}\n  }}\'',
        ]
    )
    python = f"""import os
from openai import OpenAI

client = OpenAI(base_url="{base_url}/v1", api_key=os.environ["KOMILION_API_KEY"])
answer = client.chat.completions.create(
    model={json.dumps(model_id)},
    messages=[{json.dumps(message)}],
    max_tokens={MAX_TOKENS},
)
print(answer.choices[0].message.content)
print(answer.usage.cost)  # US dollars"""
    javascript = f"""import OpenAI from "openai";

const client = new OpenAI({{
  baseURL: "{base_url}/v1",
  apiKey: process.env.KOMILION_API_KEY,
}});
const answer = await client.chat.completions.create({{
  model: {json.dumps(model_id)},
  messages: [{{ role: "user", content: {json.dumps(QUESTION)} }}],
  max_tokens: {MAX_TOKENS},
}});
console.log(answer.choices[0].message.content);
console.log(answer.usage.cost); // US dollars"""
    return [Tab("curl", "bash", curl), Tab("Python", "python", python), Tab("JavaScript", "js", javascript)]


def _decimal(nano: int) -> str:
    """Nano-USD as an exact decimal number, as the gateway writes it into JSON."""
    whole, fraction = divmod(nano, 10**9)
    return f"{whole}.{fraction:09d}".rstrip("0").rstrip(".")
