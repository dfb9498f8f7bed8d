"""A transcription job in a worker, from wherever the one before it was stopped.

take -> place -> fetch -> decode -> plan -> each part: begin, hear, keep, settle -> speakers -> summary -> complete

A job is one request and one parallel slot of its caller's until everything is heard. It is asked for before anything
else; where there is none the thread goes to somebody else's job, and this one comes back later.

A worker may die at any point. What is written down by then says what is left to do, and the ledger that nothing is
charged twice: see `voice.models.JobPart`.
"""

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
from django.conf import settings
from django.db import DatabaseError

from billing.prices import PriceVersion
from komilion.common.clock import monotonic_s
from komilion.common.egress import Egress
from komilion.common.errors import (
    KomilionError,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from komilion.common.failpoints import failpoint
from komilion.common.tasks import spawn
from komilion.common.usage import Usage, UsageSource
from routing.catalog.credentials import unseal
from routing.catalog.voice import VoiceOffer
from routing.gateway.authenticate import scopes_of
from routing.gateway.call import NotSent
from routing.gateway.metered import CallFacts, MeteredCall, admitted
from routing.gateway.services import Services, build_services
from routing.gateway.types import Session
from routing.providers.base import Target
from routing.providers.speech import Heard, Transcript
from voice.access import caller_of
from voice.actions import jobs
from voice.meetings.hearing import ENDPOINT, PartAsked, Payer, audio_of, choose_ears, hear, spans_of
from voice.meetings.options import MeetingOptions
from voice.meetings.recording import Recording, Span, recording_of
from voice.meetings.result import Told, name_speakers, told_json
from voice.meetings.summarizing import Summary, summarize
from voice.meetings.transcript import joined, lines_of
from voice.models import JobPart, TranscriptionJob
from voice.models.job import HEARD_PERCENT
from voice.queries import part_price
from voice.speech.choice import Chosen
from voice.speech.credit import payable_s
from voice.threads import in_thread
from voice.uploads.folder import demand_room, folder
from voice.uploads.store import store
from voice.uploads.target import recording_gone

log = logging.getLogger(__name__)

RENEW_EVERY_S = 15
FETCH_TIMEOUT_S = 1_800
PREPARED_PERCENT = 5
STALLED = "The provider took too long, again and again. The result has what was heard by then, which alone was charged."


def work_on(job_id: str, owner: str) -> bool:
    """Bring a job to its end, or as far as it goes now; False where it is none of ours. Blocks."""
    job = jobs.do_take_job(job_id, owner)
    if job is None:
        return False
    asyncio.run(_with_services(job))
    return True


async def _with_services(job: TranscriptionJob) -> None:
    services = build_services()
    await services.start()
    try:
        await _guarded(job, services)
    finally:
        await services.stop()


async def _guarded(job: TranscriptionJob, services: Services) -> None:
    """The work with its lease renewed beside it, and with an end for everything that may go wrong."""
    work = JobWork(job, services)
    task = spawn(_trouble_of(work), name="transcription")
    beat = spawn(_keep_lease(job, work, task), name="transcription-lease")
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
        beat.cancel()
    await in_thread(jobs.do_let_go, job)
    if not task.cancelled() and (error := task.result()) is not None:
        await in_thread(work.end_badly, error)


class NoPlace(Exception):
    """The caller has as many requests as it may."""

    def __init__(self, refusal: RateLimited) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


async def _trouble_of(work: "JobWork") -> KomilionError | None:
    """What keeps the work from its end; None where it came there, waits for a place, or is not ours any more."""
    try:
        await work.run()
    except jobs.LeaseLost:
        return None
    except NoPlace as error:
        return None if await work.wait(error.refusal) else error.refusal
    except NotSent as error:
        return error.error
    except KomilionError as error:
        return error
    except Exception:
        log.exception("transcription failed")
        return Unavailable("Something went wrong on our side.")
    return None


async def _keep_lease(job: TranscriptionJob, work: "JobWork", task: "asyncio.Task[Any]") -> None:
    """Renew it, and end the work once nobody wants it; but what a provider hears is waited for, as it is paid for."""
    renewed_s = monotonic_s()
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        now_s = monotonic_s()
        try:
            is_wanted = await in_thread(jobs.do_renew, job, round(now_s - renewed_s))
        except jobs.LeaseLost:
            task.cancel()
            return
        except DatabaseError as error:
            log.warning("lease not renewed", extra={"job": job.pk, "error": str(error)})
            continue
        renewed_s = now_s
        if not is_wanted and not work.is_asking:
            task.cancel()
            return


class JobWork:
    """One job at one worker."""

    def __init__(self, job: TranscriptionJob, services: Services) -> None:
        self.is_asking = False  # a provider has a part of the audio
        self._job = job
        self._options = msgspec.convert(job.options, MeetingOptions)
        self._payer = Payer(services, self._renew)
        self._services = services
        self._parts: list[JobPart] = []

    async def run(self) -> None:
        """Raises what ends it: `KomilionError`, `NotSent`, `LeaseLost`, `NoPlace`."""
        async with _place(await self._renew(), self._services):
            transcript = await self._transcribe()
        await in_thread(jobs.do_note_progress, self._job, HEARD_PERCENT)
        summary = Summary()
        if self._options.summarize and transcript.text:
            summary = await summarize(self._payer, lines_of(transcript), self._job.pk)
            failpoint("meeting-summarized")
        told = self._told(transcript=transcript, summary=summary)
        await in_thread(jobs.do_complete, self._job, orjson.dumps(_kept(told)), told.all_nano)

    async def wait(self, refusal: RateLimited) -> bool:
        """Give the job back until there may be a place for it; False where it has waited for long enough."""
        return await in_thread(jobs.do_wait_for_place, self._job, refusal)

    def end_badly(self, error: KomilionError) -> None:
        """Later, if that may help; else for good, with what was transcribed so far."""
        if isinstance(error, Unavailable | ProviderError | RateLimited):
            if jobs.is_stalled(self._job):
                error = ProviderTimeout(STALLED)
            elif jobs.do_put_off(self._job, error):
                return
        answers = self._answers()
        partial = b""
        if answers:
            told = self._told(transcript=joined(answers), summary=Summary(), is_partial=True)
            partial = orjson.dumps(_kept(told))
        jobs.do_fail(self._job, error.reason, error.message, partial)

    async def _renew(self) -> Session:
        caller = await in_thread(caller_of, self._job)
        if caller is None:
            raise Unauthenticated("The key that made this job does not work any more.")
        return Session(caller, scopes_of(caller))

    async def _transcribe(self) -> Transcript:
        session = await self._renew()
        chosen = choose_ears(await self._services.fresh_catalog(), session, self._options)
        if self._job.duration_ms is None:  # else something may have been heard that is to be charged
            await payable_s(chosen, session.caller, self._services)
        with contextlib.ExitStack() as stack:
            path = await self._source(stack)
            recording = await in_thread(lambda: stack.enter_context(recording_of(path, folder())))
            await self._hear_all(chosen, recording)
            return await in_thread(name_speakers, joined(self._answers()), recording, self._options)

    async def _source(self, stack: contextlib.ExitStack) -> Path:
        """The file."""
        if self._job.upload is not None:
            upload = self._job.upload
            await in_thread(store().demand_whole, upload)
            return await in_thread(lambda: stack.enter_context(store().opened(upload)))
        if not self._job.url_sealed:
            raise recording_gone()
        file = stack.enter_context(tempfile.NamedTemporaryFile(dir=folder()))  # noqa: SIM115 - the stack does
        url = unseal(bytes(self._job.url_sealed)).decode()
        limit = settings.VOICE_UPLOAD_LIMIT_BYTES
        await in_thread(demand_room, limit)  # without it the job waits for the disk
        await Egress().fetch(url, file, most_bytes=limit, timeout_s=FETCH_TIMEOUT_S, param="audioUrl")
        file.flush()
        return Path(file.name)

    async def _hear_all(self, chosen: Chosen, recording: Recording) -> None:
        spans = await in_thread(spans_of, chosen, recording)
        self._parts = await in_thread(jobs.do_plan_parts, self._job, recording.length_ms, spans)
        for number, part in enumerate(self._parts):
            done = PREPARED_PERCENT + (HEARD_PERCENT - PREPARED_PERCENT) * number // len(self._parts)
            await in_thread(jobs.do_note_progress, self._job, done)
            if part.is_settled:
                continue
            if part.answer_sealed:
                await self._settle_again(part)
            else:
                await self._hear(part, chosen, recording)

    async def _hear(self, part: JobPart, chosen: Chosen, recording: Recording) -> None:
        async def keep(offer: VoiceOffer, heard: Heard, usage: Usage, source: UsageSource) -> None:
            bill = {"model": offer.model_id, "provider": offer.provider, "price_id": offer.price.id}
            answered = jobs.Answered(heard.transcript, usage.buckets(), source, bill)
            await in_thread(jobs.do_keep_answer, self._job, part, answered)
            failpoint("meeting-answer-kept")

        span = Span(part.start_ms, part.end_ms)
        audio = await in_thread(audio_of, chosen, recording, span)
        request_id = await in_thread(jobs.do_begin_part, self._job, part)
        failpoint("meeting-part-begun")
        self.is_asking = True
        try:
            heeded = await hear(self._payer, chosen, PartAsked(request_id, audio, self._options, keep))
        finally:
            self.is_asking = False
        failpoint("meeting-part-settled")
        await in_thread(jobs.do_settle_part, part, heeded.settled.charge)

    async def _settle_again(self, part: JobPart) -> None:
        """Its answer is there; whether it was charged, nobody knows but the ledger."""
        price = await in_thread(part_price, part)
        offer = _offer_of(part, price)
        facts = CallFacts(ENDPOINT, self._options.model or offer.model_id)
        async with MeteredCall(self._services, await self._renew(), part.request_id, facts) as call:
            settled = await call.settle(
                offer, Usage(**part.usage), source=part.offer["source"], detail={"resumed": True}
            )
        await in_thread(jobs.do_settle_part, part, settled.charge)

    def _answers(self) -> list[tuple[Span, Transcript]]:
        """What was heard and paid for."""
        done = [part for part in self._parts if part.is_settled]
        return [(Span(part.start_ms, part.end_ms), jobs.transcript_of(part)) for part in done]

    def _told(self, *, transcript: Transcript, summary: Summary, is_partial: bool = False) -> Told:
        done = [part for part in self._parts if part.is_settled]
        return Told(
            transcript=transcript,
            options=self._options,
            models=tuple(dict.fromkeys(part.offer["model"] for part in done)),
            request_ids=tuple(part.request_id for part in done),
            cost_nano=sum(part.charge_nano for part in done),
            summary=summary,
            is_partial=is_partial,
        )


def _kept(told: Told) -> dict[str, object]:
    """What is stored: the answer, and the transcript from which captions are made."""
    return {"answer": told_json(told), "transcript": msgspec.to_builtins(told.transcript)}


def _offer_of(part: JobPart, price: PriceVersion) -> VoiceOffer:
    """As far as a settlement looks at it."""
    nowhere = Target(base_url="", api_key="", upstream_id="", capabilities=frozenset())
    return VoiceOffer(part.offer["model"], part.offer["provider"], "", nowhere, price)


@contextlib.asynccontextmanager
async def _place(session: Session, services: Services) -> AsyncIterator[None]:
    """One request and one parallel slot of the caller's. Raises `NoPlace`."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(admitted(session, services))
        except RateLimited as refusal:
            raise NoPlace(refusal) from refusal
        yield
