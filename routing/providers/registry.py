"""Every wire dialect, of chat and of speech, by the name that a provider's row carries; `NAMES` are those of all."""

from routing.providers.base import Dialect
from routing.providers.deepgram import Deepgram
from routing.providers.openai_audio import OpenAIAudio
from routing.providers.openai_compat import OpenAICompatible
from routing.providers.speech import SpeechDialect

DIALECTS: dict[str, Dialect] = {
    "openai": OpenAICompatible(),
}

SPEECH_DIALECTS: dict[str, SpeechDialect] = {
    "openai": OpenAIAudio(),
    "deepgram": Deepgram(),
}
NAMES = tuple(dict.fromkeys((*DIALECTS, *SPEECH_DIALECTS)))


def dialect(name: str) -> Dialect:
    """The dialect of that name. Raises `KeyError` for an unknown one: who adds a provider checks it."""
    return DIALECTS[name]


def speech_dialect(name: str) -> SpeechDialect:
    """The dialect of speech of that name. Raises `KeyError` for an unknown one."""
    return SPEECH_DIALECTS[name]
