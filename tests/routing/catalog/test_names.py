"""What a name means: a model by any of its names, or nothing; never another model."""

import re

import pytest

from komilion.common.errors import UnknownModel
from routing.catalog.aliases import Named, build_aliases, fold
from routing.catalog.resolve import resolve
from routing.catalog.shipped import read_shipped
from routing.catalog.snapshot import Catalog
from tests.routing.catalog.conftest import Shipped

GPT, OTHER = Named("openai/gpt-4.1", is_shipped=True), Named("acme/gpt-4.1")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("anthropic/claude-4-5-sonnet", "anthropic/claude-sonnet-4.5"),
        ("anthropic/claude-sonnet-4-5", "anthropic/claude-sonnet-4.5"),
        ("anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4.5"),
        ("claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4.5"),
        ("claude-4-5-sonnet-20250929", "anthropic/claude-sonnet-4.5"),
        ("claude-haiku-4-5-20251001", "anthropic/claude-haiku-4.5"),
        ("claude-opus-5", "anthropic/claude-opus-5"),
        ("gpt-4.1", "openai/gpt-4.1"),
        ("gpt-4-1", "openai/gpt-4.1"),
        ("GPT-4.1", "openai/gpt-4.1"),
        ("gpt-4.1-2025-04-14", "openai/gpt-4.1"),
        ("openai/gpt-4o-mini", "openai/gpt-4o-mini"),
        ("gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini"),
        ("minimax-m2.5", "minimax/minimax-m2.5"),
        ("MiniMax-M2.5", "minimax/minimax-m2.5"),
        ("mistralai/codestral-2508", "mistralai/codestral-2508"),
        ("mistral/codestral-2508", "mistralai/codestral-2508"),
        ("codestral-latest", "mistralai/codestral-2508"),
        ("mistral-large-latest", "mistralai/mistral-large-4-0"),
        ("xai/grok-4.7", "x-ai/grok-4.7"),
        ("gemini/gemini-3.5-flash", "google/gemini-3.5-flash"),
        ("zai/glm-5.3", "z-ai/glm-5.3"),
        ("meta/llama-4-scout", "meta-llama/llama-4-scout"),
        ("deepseek-flash", "deepseek/deepseek-v4.1-flash"),
        ("deepseek-v4-pro", "deepseek/deepseek-v4-pro"),
        ("openai/gpt-oss-120b", "openai/gpt-oss-120b"),
        ("command-a-03-2025", "cohere/command-a"),
    ],
)
def test_a_model_is_found_by_any_of_its_names(shipped: Shipped, name: str, model: str) -> None:
    found = resolve(shipped(), name)
    assert found.model.id == model
    assert found.moved_from is None


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gpt-4o-2024-05-13", "openai/gpt-4o"),  # a dearer version of it
        ("gpt-4.1:free", "openai/gpt-4.1"),
        ("claude-sonnet", "anthropic/claude-sonnet"),
        ("openai/gpt-9", "openai/gpt-"),
        ("gpt-5-2025-08-08", "openai/gpt-5"),
    ],
)
def test_a_name_that_is_nearly_one_is_none_and_the_models_are_named(shipped: Shipped, name: str, hint: str) -> None:
    with pytest.raises(UnknownModel, match=re.escape(hint)):
        resolve(shipped(), name)


def test_what_looks_like_nothing_gets_the_list_named(shipped: Shipped) -> None:
    with pytest.raises(UnknownModel, match="GET /v1/models"):
        resolve(shipped(), "…" * 500)


def test_every_shipped_model_has_its_own_names_to_itself(shipped: Shipped) -> None:
    catalog = shipped()
    models = read_shipped(0).models
    assert len({fold(model.id) for model in models}) == len(models)
    for model in models:
        maker, _, own = model.id.partition("/")
        for name in (model.id, own, f"{maker}/{own}".upper(), model.id.replace(".", "-")):
            assert catalog.canonical(name) in {model.id, None}, name


def test_the_names_of_the_data_mean_the_model_they_stand_at(shipped: Shipped) -> None:
    """But for what is itself the name of another, as `deepseek-v4-pro` is of its later version's endpoint."""
    catalog = shipped()
    models = read_shipped(0).models
    owns = {fold(model.id.partition("/")[2]): model.id for model in models}
    for model in models:
        for alias in model.aliases:
            assert catalog.canonical(alias) == owns.get(fold(alias), model.id)


def test_a_bare_name_of_two_makers_is_that_of_the_shipped_one() -> None:
    aliases = build_aliases([OTHER, GPT])
    assert aliases["gpt-4-1"] == "openai/gpt-4.1"
    assert aliases["acme/gpt-4-1"] == "acme/gpt-4.1"


def test_a_bare_name_of_two_makers_that_an_operator_added_is_none() -> None:
    aliases = build_aliases([Named("acme/large"), Named("delta/large")])
    assert "large" not in aliases
    catalog = Catalog(1, {}, (), aliases)
    assert catalog.canonical("large") is None
    assert catalog.canonical("ACME/Large") == "acme/large"


def test_an_id_means_itself_whatever_else_would_like_its_name() -> None:
    written_like_ours = Named("openai/gpt-4-1")
    aliases = build_aliases([GPT, written_like_ours, Named("acme/x", aliases=("openai/gpt-4.1",), is_shipped=True)])
    assert aliases["openai/gpt-4-1"] == "openai/gpt-4-1"
    assert aliases["openai/gpt-4.1"] == "openai/gpt-4.1"


def test_a_name_from_the_data_gives_way_to_a_models_own() -> None:
    later = Named("deepseek/v4-pro-0813", aliases=("v4-pro",), is_shipped=True)
    assert build_aliases([later, Named("deepseek/v4-pro", is_shipped=True)])["v4-pro"] == "deepseek/v4-pro"
    assert build_aliases([later])["v4-pro"] == "deepseek/v4-pro-0813"


def test_an_alias_with_a_maker_means_nothing_without_it() -> None:
    aliases = build_aliases([Named("acme/new", aliases=("old-acme/old",))])
    assert aliases["old-acme/old"] == "acme/new"
    assert "old" not in aliases
