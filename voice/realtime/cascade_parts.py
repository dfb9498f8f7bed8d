"""The models that a cascade is put together from, and the money of each call of them.

Every call of a part has a hold and a settlement of its own, as outside of a conversation; what was settled goes onto
the session's tab, so that the client hears of it. What is held between them is `cascade_ahead`'s.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from komilion.common.audio import encode, pcm
from komilion.common.audio.pcm import Samples
from komilion.common.errors import BadRequest, KomilionError, ModelNotAllowed, ModelNotServed, UnknownModel
from komilion.common.tasks import spawn
from komilion.common.usage import Usage
from routing.catalog.snapshot import Catalog
from routing.catalog.voice import VoiceOffer
from routing.gateway.call import NotSent
from routing.gateway.funds import Stopped
from routing.gateway.inside import Cost
from routing.gateway.metered import MeteredCall
from routing.gateway.types import Outcome, Settled
from routing.gateway.types import Session as CallerSession
from routing.providers.speech import Listening, Speaking
from voice.audio.vad import RATE_HZ
from voice.realtime.session import Session
from voice.realtime.tab import Spent
from voice.speech import listening
from voice.speech.choice import Chosen, Wanted, choose, same_units
from voice.speech.cover import Cover, unpaid
from voice.speech.lengths import MEDIA_TYPES, Audio
from voice.speech.saying import LEAST_MS_A_CHARACTER, OnAudio, Saying
from voice.speech.saying import bound_of as speech_bound

LIKELY_TURN_MS = 4_000
LIKELY_SENTENCE = Speaking("x" * 80, "", "pcm")
NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class Parts:
    """Who hears, who thinks (a model or a policy of the gateway's chat), who speaks."""

    hears: Chosen
    thinks: str
    speaks: Chosen


def parts_of(catalog: Catalog, caller: CallerSession, policy: str) -> Parts:
    """The cheapest that this caller may use. Raises `ModelNotServed`, `ModelNotAllowed`."""
    return Parts(_hears(catalog, caller, ""), f"neo-mode/{policy}", _speaks(catalog, caller))


def _hears(catalog: Catalog, caller: CallerSession, name: str) -> Chosen:
    return choose(
        Wanted("transcription", name),
        catalog,
        caller.caller,
        lambda offer: listening.likely_usage(LIKELY_TURN_MS, offer),
    )


def _speaks(catalog: Catalog, caller: CallerSession) -> Chosen:
    return choose(Wanted("speech", ""), catalog, caller.caller, lambda offer: speech_bound(LIKELY_SENTENCE, offer))


class Calls:
    """The calls of one session's parts."""

    def __init__(self, session: Session, parts: Parts) -> None:
        self.parts = parts
        self._session = session
        self._hears = parts.hears
        self._options = Listening()

    def configure(self, transcription: Mapping[str, Any] | None) -> None:
        """Follow `session.audio.input.transcription`. Raises `BadRequest` for a model that is not to be had."""
        wishes = transcription or {}
        self._options = Listening(
            language=wishes.get("language") or "",
            prompt=wishes.get("prompt") or "",
            keywords=tuple(wishes.get("keywords") or ()),
        )
        try:
            self._hears = _hears(self._session.services.catalog, self._session.caller, wishes.get("model") or "")
        except (UnknownModel, ModelNotServed, ModelNotAllowed) as error:
            raise BadRequest(error.message, param="session.audio.input.transcription.model") from error

    async def hear(self, samples: Samples) -> str:
        """What was said. Raises `KomilionError`; then it cost nothing."""
        wav = await asyncio.to_thread(encode.encode, samples, "wav", RATE_HZ)  # 20 ms where it is ten minutes
        audio = Audio(wav, MEDIA_TYPES["wav"], pcm.duration_ms(samples, RATE_HZ), 1)
        hearing = listening.Hearing(audio, self._options)
        try:
            async with self._session.tab.new_call() as call:
                heard = await listening.transcribe(call, self._hears, hearing, self._session.services)
        except NotSent as error:
            raise error.error from error
        self._charge(call, heard.offer, heard.settled)
        return heard.heard.transcript.text.strip()

    async def say(self, options: Speaking, on_audio: OnAudio) -> None:
        """Speak a sentence. Raises `KomilionError`. Whoever stops waiting pays for what came, at a later `report`."""
        offers = self.parts.speaks.offers
        most = speech_bound(options, offers[0])
        offers = same_units(offers, most)
        call = self._session.tab.new_call()
        await call.hold(offers, most, speech_bound(options, offers[0], LEAST_MS_A_CHARACTER))
        saying = Saying(self._session.services, offers, options, on_audio)
        saying.cover = Cover(call)
        try:
            await saying.run()
        except NotSent as error:
            await call.void()
            raise error.error from error
        except Stopped as stop:
            usage, source = saying.used()
            await self._settle(call, Spent(saying.offer, usage, source, stop.outcome))
            raise unpaid(stop) from stop
        except BaseException as error:
            is_theirs = isinstance(error, KomilionError)
            usage, source = saying.used(is_broken_off=is_theirs)
            outcome: Outcome = "provider_cut" if is_theirs else "client_left"
            if is_theirs and not saying.is_begun:
                usage, source, outcome = NOTHING, "absent", "provider_failed"
            await self._settle(call, Spent(saying.offer, usage, source, outcome))
            raise
        usage, source = saying.used()
        await self._settle(call, Spent(saying.offer, usage, source))

    def thought(self, cost: Cost) -> None:
        """A chat has ended, however."""
        if cost.request_id:
            part = {"request_id": cost.request_id, "model": cost.model, "usage": cost.usage}
            self._session.tab.spend(cost.charge, {**part, "settlement": _settlement(cost.is_pending)})

    async def _settle(self, call: MeteredCall, spent: Spent) -> None:
        """Also where whoever waits is cancelled: what is charged is told."""

        async def settle() -> None:
            self._charge(call, spent.offer, await spent.settle(call))

        settling = spawn(settle(), name="cascade-settle")
        try:
            await asyncio.shield(settling)
        except asyncio.CancelledError:
            await asyncio.wait({settling})
            raise

    def _charge(self, call: MeteredCall, offer: VoiceOffer, settled: Settled) -> None:
        part = {"request_id": call.request_id, "model": offer.model_id, "usage": dict(settled.usage)}
        self._session.tab.spend(settled.charge, {**part, "settlement": _settlement(settled.is_pending)})


def _settlement(is_pending: bool) -> str:
    return "pending" if is_pending else "settled"
