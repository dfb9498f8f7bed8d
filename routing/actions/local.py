"""The models that run on the machine itself, and their provider."""

from dataclasses import replace

from django.conf import settings

from routing.actions.catalog import OfferSpec, ProviderSpec, nano_per_million, nano_per_million_ms
from routing.local_models import speaking

LOCAL = ProviderSpec(name="local", base_url=settings.LOCAL_MODELS_URL, api_key="local", cancel_stops_billing=True)
SMOLLM2 = OfferSpec(
    model_id="local/smollm2-135m-instruct",
    name="SmolLM2 135M Instruct",
    provider=LOCAL.name,
    upstream_id="smollm2-135m-instruct",
    components={"input": nano_per_million("0.02"), "output": nano_per_million("0.06")},
    context_length=4_096,
    max_output=1_024,
    capabilities=(),
    tokens_per_s=40,
)
WHISPER = OfferSpec(
    model_id="local/whisper-tiny.en",
    name="Whisper tiny, English",
    kind="transcription",
    provider=LOCAL.name,
    upstream_id="whisper-tiny.en",
    components={"audio_ms": nano_per_million_ms("0.00001")},
    capabilities=("word_timestamps",),
)
ESPEAK = OfferSpec(
    model_id="local/espeak",
    name="eSpeak NG",
    kind="speech",
    provider=LOCAL.name,
    upstream_id=speaking.ESPEAK,
    components={"characters": nano_per_million("0.50")},
    capabilities=(),
)
PIPER = replace(ESPEAK, model_id="local/piper", name="Piper", upstream_id=speaking.PIPER)
OFFERS = (SMOLLM2, WHISPER, ESPEAK, *([PIPER] if speaking.PIPER in speaking.installed() else []))
