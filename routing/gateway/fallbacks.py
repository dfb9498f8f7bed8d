"""`models` and `fallbacks`: the models that a request names for the case that its own cannot answer.

    "models": ["a/b", "c/d"]              OpenRouter's: tried in order, after `model` where that is given
    "fallbacks": ["a/b", "c/d"]           LiteLLM's, in each of its forms
    "fallbacks": [{"model": "a/b"}]
    "fallbacks": [{"c/d": ["a/b"]}]       only for the model `c/d`; `*` for every model

Documented at openrouter.ai/docs (Model Fallbacks) and docs.litellm.ai (Reliability).
"""

from typing import Any

from komilion.common.errors import BadRequest
from komilion.common.numbers import numbers
from routing.gateway.checks import missing, text, wrong

MODEL_CHARACTERS = 200
EVERY_MODEL = "*"

check_model = text(MODEL_CHARACTERS)


def check_models(value: Any, name: str) -> None:
    """A list of model ids, not too long."""
    if type(value) is not list or len(value) > numbers.FALLBACKS_MOST:
        raise wrong(name, f"a list of at most {numbers.FALLBACKS_MOST} models")
    for place, model in enumerate(value):
        check_model(model, f"{name}[{place}]")


def check_fallbacks(value: Any, name: str) -> None:
    """A list of ids, of `{"model": id}`, or of `{id: [ids]}`."""
    if type(value) is not list or len(value) > numbers.FALLBACKS_MOST:
        raise wrong(name, f"a list of at most {numbers.FALLBACKS_MOST} models")
    for place, entry in enumerate(value):
        where = f"{name}[{place}]"
        if type(entry) is not dict:
            check_model(entry, where)
            continue
        if len(entry) != 1:
            raise wrong(where, 'a model, {"model": ...} and nothing else, or {model: [fallbacks]}')
        ((key, inner),) = entry.items()
        if type(inner) is list:
            check_models(inner, f"{where}.{key}")
        elif key == "model":
            check_model(inner, f"{where}.model")
        else:
            raise wrong(f"{where}.{key}", "a list of models")


def models_of(read: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The model that is asked for, and those to try after it, each once. Raises `BadRequest` where none is named."""
    named: list[str] = read.get("models", [])
    if "fallbacks" in read:
        if named:
            message = "`models` and `fallbacks` are two names for one thing; send one of them."
            raise BadRequest(message, param="fallbacks")
        if "model" not in read:
            raise missing("model")
        named = _fallbacks_of(read["model"], read["fallbacks"])
    if "model" in read:
        named = [read["model"], *named]
    elif not named:
        raise missing("model")
    if len(named) == 1:
        return named[0], ()
    model, *others = dict.fromkeys(named)
    return model, tuple(others[: numbers.FALLBACKS_MOST])


def _fallbacks_of(model: str, entries: list[Any]) -> list[str]:
    found: list[str] = []
    for entry in entries:
        if type(entry) is not dict:
            found.append(entry)
            continue
        ((key, inner),) = entry.items()
        if type(inner) is not list:
            found.append(inner)
        elif key in {model, EVERY_MODEL}:
            found += inner
    return found
