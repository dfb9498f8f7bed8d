"""Every wire dialect by the name that a provider's row carries."""

from routing.providers.base import Dialect
from routing.providers.openai_compat import OpenAICompatible

DIALECTS: dict[str, Dialect] = {
    "openai": OpenAICompatible(),
}


def dialect(name: str) -> Dialect:
    """The dialect of that name. Raises `KeyError` for an unknown one: who adds a provider checks it."""
    return DIALECTS[name]
