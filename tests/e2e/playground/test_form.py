"""The form: what is filled in reaches the models, what is wrong is said beside its field."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.browser import Person
from tests.fakes.journal import Call

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cf500f0003860180345a2b3e0000000049454e44ae426082"
)


def test_what_is_filled_in_reaches_the_models(alice: Person, calls: Callable[[], list[Call]]):
    page = alice.visit("/playground?models=acme/large,acme/mini&prompt=Look").page
    page.get_by_text("System prompt, pictures").click()
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_label("Temperature").fill("0.5")
    page.get_by_label("Most output tokens").fill("77")
    page.get_by_label("Top p").fill("0.9")
    page.get_by_label("Tools, as JSON").fill('[{"type": "function", "function": {"name": "f"}}]')
    page.get_by_label("JSON schema of the answer").fill('{"type": "object"}')
    page.locator("#pictures").set_input_files({"name": "p.png", "mimeType": "image/png", "buffer": PIXEL})
    expect(page.get_by_role("button", name="Remove p.png")).to_be_visible()
    page.get_by_label("Prompt", exact=True).press("Control+Enter")
    page.get_by_role("dialog").get_by_role("button", name="Run").click()
    expect(page.get_by_text("Done. This run cost")).to_be_visible()
    for seen in calls():
        body = seen.body
        assert (body["temperature"], body["top_p"]) == (0.5, 0.9)
        assert body.get("max_tokens") or body.get("max_completion_tokens") == 77
        assert body["messages"][0] == {"role": "system", "content": "Be brief."}
        kinds = [part["type"] for part in body["messages"][1]["content"]]
        assert kinds == ["text", "image_url"]
        assert body["tools"][0]["function"]["name"] == "f"
        assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("label", "text", "said"),
    [
        ("Tools, as JSON", "[{", "This is no JSON"),
        ("Tools, as JSON", '{"name": "f"}', "Tools are a list"),
        ("Tools, as JSON", '[{"type": "function"}]', "Tool 1 needs"),
        ("JSON schema of the answer", "[]", "A JSON schema is an object"),
        ("Temperature", "hot", "Write a number from 0 to 2"),
        ("Most output tokens", "1.5", "Write a whole number"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(alice: Person, label: str, text: str, said: str):
    visit = alice.visit("/playground?prompt=hello")
    page = visit.page
    page.get_by_text("System prompt, pictures").click()
    field = page.get_by_label(label)
    field.fill(text)
    page.get_by_text("System prompt, pictures").click()  # closed again: it must open by itself
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text(said)).to_be_visible()
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    visit.check()


def test_pictures_have_limits(alice: Person):
    page = alice.visit("/playground?prompt=hello").page
    page.get_by_text("System prompt, pictures").click()
    field = page.locator("#pictures")
    field.set_input_files({"name": "p.svg", "mimeType": "image/svg+xml", "buffer": b"<svg/>"})
    expect(page.get_by_text("p.svg is no PNG")).to_be_visible()
    field.set_input_files({"name": "text.png", "mimeType": "image/png", "buffer": b"only words"})
    expect(page.get_by_text("text.png is no PNG")).to_be_visible()
    field.set_input_files({"name": "nothing.png", "mimeType": "image/png", "buffer": b""})
    expect(page.get_by_text("nothing.png is no PNG")).to_be_visible()
    field.set_input_files({"name": "big.png", "mimeType": "image/png", "buffer": PIXEL + b"0" * 3_000_000})
    expect(page.get_by_text("big.png is too much")).to_be_visible()
    expect(page.locator(".picture")).to_have_count(0)


def test_a_model_that_is_added_is_one_that_is_not_there(alice: Person):
    page = alice.visit("/playground").page
    expect(page.get_by_role("button", name="Share")).to_be_disabled()  # nothing was answered yet
    for _ in range(4):
        page.get_by_role("button", name="Add a model").click()
    chosen = page.locator(".column__head select").evaluate_all("all => all.map(one => one.value)")
    assert chosen[:3] == ["neo-mode/frugal", "neo-mode/balanced", "neo-mode/premium"]
    assert len(set(chosen)) == 6
