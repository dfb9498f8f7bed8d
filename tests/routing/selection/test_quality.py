"""Where models are placed, and what that makes of a question."""

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from routing.selection.features import question_of
from routing.selection.market import ModelFacts
from routing.selection.quality import STRENGTHS, Quality, Strengths
from routing.selection.weights import Weights
from routing.selection.words import TASKS

LOCAL = "local/smollm2-135m-instruct"
OTHERS_BY_TASK = {"code-generation", "math", "knowledge-qa", "writing", "tool-use"}


@pytest.fixture(scope="module")
def weights() -> Weights:
    return Weights.load()


@pytest.fixture(scope="module")
def strengths() -> Strengths:
    return Strengths.load()


def strength(strengths: Strengths, model: str, task: str) -> float:
    return strengths.models[model].strength[TASKS.index(task)]


def logits(weights: Weights, text: str, *models: str, **more: object) -> dict[str, float]:
    quality = Quality.build(weights, [ModelFacts(model, has_vision=True) for model in models])
    found, _ = quality.score(weights.read(question_of(text, **more)))
    return dict(zip(models, found.tolist(), strict=True))


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("anthropic/claude-opus-5.5", "anthropic/claude-haiku-4.5"),
        ("anthropic/claude-sonnet-5.5", "anthropic/claude-haiku-4.5"),
        ("anthropic/claude-opus-5.5", "anthropic/claude-opus-4.5"),
        ("openai/gpt-6-sol", "openai/gpt-5-nano"),
        ("openai/gpt-5.5", "openai/gpt-5-mini"),
        ("openai/gpt-5.5", "openai/gpt-4o"),
        ("google/gemini-3.8-flash", "google/gemini-2.5-flash-lite"),
        ("deepseek/deepseek-v4-pro", "deepseek/deepseek-chat-v3-0324"),
        ("z-ai/glm-5.1", "z-ai/glm-4.7-flash"),
        ("mistralai/mistral-large-2512", "mistralai/ministral-3b-2512"),
        ("openai/gpt-4o-mini", LOCAL),
    ],
)
def test_newer_and_larger_models_stand_above_older_and_smaller_ones(
    strengths: Strengths, better: str, worse: str
) -> None:
    for task in OTHERS_BY_TASK:
        assert strength(strengths, better, task) > strength(strengths, worse, task)


def test_the_local_model_is_far_below_everything(strengths: Strengths) -> None:
    for i in range(len(TASKS)):
        rest = [place.strength[i] for model, place in strengths.models.items() if model != LOCAL]
        assert strengths.models[LOCAL].strength[i] < min(rest) - 1


def test_a_flagship_writes_better_code_than_a_small_old_model(weights: Weights) -> None:
    found = logits(
        weights, "Write a Python function that parses ISO dates", "openai/gpt-4o-mini", "anthropic/claude-opus-5.5"
    )
    assert found["anthropic/claude-opus-5.5"] > found["openai/gpt-4o-mini"] + 1


def test_an_unknown_model_is_placed_low_and_wide(weights: Weights, strengths: Strengths) -> None:
    models = [ModelFacts("mine/own"), ModelFacts("openai/gpt-4o-mini"), ModelFacts("openai/gpt-5.5")]
    logit, error = Quality.build(weights, models).score(weights.read(question_of("Write a poem")))
    assert logit[0] < logit[1] < logit[2]
    assert error[0] > 1.5 * error[1]
    usual = np.median([place.strength[0] for place in strengths.models.values()])
    assert strengths.unknown.strength[0] < usual


def test_an_unknown_model_that_thinks_first_is_a_little_ahead(weights: Weights) -> None:
    models = [ModelFacts("mine/own"), ModelFacts("mine/thinker", is_reasoning=True), ModelFacts("openai/gpt-5.5")]
    logit, _ = Quality.build(weights, models).score(weights.read(question_of("Write a poem")))
    assert logit[0] < logit[1] < logit[2]


def test_who_can_see_is_preferred_for_what_is_called_vision(weights: Weights) -> None:
    models = [ModelFacts("openai/gpt-4o"), ModelFacts("openai/gpt-4o", has_vision=True)]
    quality = Quality.build(weights, models)
    blind, seeing = quality.score(weights.read(question_of("Describe this image", hint="vision")))[0]
    assert blind < seeing - 0.4
    blind, seeing = quality.score(weights.read(question_of("Write a Python function that sorts a list")))[0]
    assert blind == pytest.approx(seeing, abs=0.01)


def test_a_new_model_of_a_known_family_stands_beside_its_newest(strengths: Strengths) -> None:
    newest = strengths.models["anthropic/claude-opus-5.5"]
    for facts in (
        ModelFacts("anthropic/claude-opus-6", family="claude-opus"),
        ModelFacts("anthropic/claude-opus-6", line="anthropic/claude-opus-5.5"),
    ):
        placed = strengths.place(facts)
        assert placed.strength == newest.strength
        assert all(mine > theirs for mine, theirs in zip(placed.error, newest.error, strict=True))


def test_models_without_figures_have_wider_errors(strengths: Strengths) -> None:
    place = TASKS.index("code-generation")
    rows = json.loads(STRENGTHS.read_text())["models"]
    bare = [row["error"][place] for row in rows.values() if row.get("figures") == 0]
    rich = [row["error"][place] for row in rows.values() if row.get("figures", 0) >= 10]
    assert min(bare) > max(rich)


def test_difficulty_lowers_every_model_alike(weights: Weights) -> None:
    quality = Quality.build(weights, [ModelFacts("openai/gpt-5.5"), ModelFacts("mine/own")])
    reading = weights.read(question_of("Write a poem"))
    before, error = quality.score(reading)
    after, same = quality.score(replace(reading, difficulty=reading.difficulty + 1))
    assert after == pytest.approx(before - 1, abs=1e-5)
    assert (same == error).all()


def test_what_outcomes_say_of_a_model_is_halved(weights: Weights, strengths: Strengths) -> None:
    reading = weights.read(question_of("Find the area of a triangle", tools=1, schema_bytes=300))
    regime = weights.regimes[reading.regime]
    own = regime.own[:, regime.models.index("openai/gpt-4o")] @ reading.known[len(TASKS) :]
    plain = np.array(strengths.models["openai/gpt-4o"].strength) @ reading.tasks - reading.difficulty
    found = logits(weights, "Find the area of a triangle", "openai/gpt-4o", tools=1, schema_bytes=300)
    assert found["openai/gpt-4o"] == pytest.approx(plain + own / 2, abs=1e-4)


def test_scores_are_in_the_order_of_the_models(weights: Weights) -> None:
    ids = ["openai/gpt-5.5", LOCAL, "openai/gpt-4o"]
    quality = Quality.build(weights, [ModelFacts(model) for model in ids])
    logit, error = quality.score(weights.read(question_of("Hello")))
    assert quality.ids == tuple(ids)
    assert logit.dtype == error.dtype == np.float32
    assert logit.argsort().tolist() == [1, 2, 0]


def test_no_models_are_no_scores(weights: Weights) -> None:
    logit, error = Quality.build(weights, []).score(weights.read(question_of("Hello")))
    assert len(logit) == len(error) == 0


def test_the_version_names_weights_and_strengths(weights: Weights, strengths: Strengths) -> None:
    assert Quality.build(weights, []).version == f"{weights.version}-{strengths.version}"


def test_strengths_about_other_tasks_are_refused(tmp_path: Path) -> None:
    content = json.loads(STRENGTHS.read_text())
    path = tmp_path / "strengths.json"
    path.write_text(json.dumps({**content, "tasks": ["cooking"]}))
    with pytest.raises(ValueError, match="other tasks"):
        Strengths.load(path)
