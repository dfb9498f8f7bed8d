"""The models that run on the machine itself, and their provider."""

from collections.abc import Iterable
from dataclasses import replace

from django.conf import settings
from django.db import transaction

from routing.actions.catalog import OfferSpec, ProviderSpec, nano_per_million, nano_per_million_ms, raise_version
from routing.catalog.models import Offer
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
OFFERS = (SMOLLM2, WHISPER, ESPEAK, PIPER)


def callable_offers() -> list[OfferSpec]:
    """Without those whose program is not on this machine."""
    there = speaking.installed()
    return [offer for offer in OFFERS if offer.kind != "speech" or offer.upstream_id in there]


def do_withdraw_offers(known: Iterable[str]) -> list[str]:
    """Of these models, those whose program is on this machine no more; returns them. What an operator disabled stays
    so, in case the program comes back.
    """
    gone = {offer.model_id for offer in OFFERS} - {offer.model_id for offer in callable_offers()}
    gone &= {*known}
    if not gone:
        return []
    with transaction.atomic():
        offers = Offer.objects.filter(provider=LOCAL.name, model_id__in=gone, is_disabled=False)
        names = sorted(offers.values_list("model_id", flat=True))
        if names:
            offers.delete()
            raise_version()
    return names
