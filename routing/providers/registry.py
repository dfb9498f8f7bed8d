"""Every wire dialect for chat by the name that a provider's row carries; `NAMES` are those of all dialects."""

from routing.providers.base import Dialect
from routing.providers.openai_compat import OpenAICompatible

DIALECTS: dict[str, Dialect] = {
    "openai": OpenAICompatible(),
}

NAMES = (*DIALECTS, "deepgram")  # which has no chat


def dialect(name: str) -> Dialect:
    """The dialect of that name. Raises `KeyError` for an unknown one: who adds a provider checks it."""
    return DIALECTS[name]
