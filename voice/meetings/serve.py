"""`POST /api/voice/transcribe-meeting`: answered at once where the audio is short, else 202 with the job that does it.

authenticate -> body -> limit -> parse -> credit -> (job | fetch -> decode -> hear -> speakers -> summary -> answer)
"""

import asyncio
import contextlib
import math
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

from komilion.common.audio.decode import USUAL_LIMITS
from komilion.common.egress import Egress, Sink
from komilion.common.errors import AudioTooLong, BadRequest, PayloadTooLarge
from komilion.common.money import format_usd
from routing.gateway.exchange import Exchange
from routing.gateway.metered import admitted
from routing.gateway.services import Services
from routing.gateway.types import Session
from voice.access import access_upload
from voice.actions.jobs import NewJob, demand_room, do_make_job
from voice.actions.uploads import do_keep_upload, do_take_in
from voice.api.jobs import job_json
from voice.meetings.hearing import PartAsked, Payer, audio_of, choose_ears, hear, spans_of, takes_whole
from voice.meetings.options import BODY_MOST_BYTES, MeetingAsked, parse_meeting
from voice.meetings.recording import PART_MOST_MS, Recording, recording_of
from voice.meetings.result import Told, name_speakers, told_as, told_json
from voice.meetings.summarizing import summarize
from voice.meetings.transcript import joined, lines_of
from voice.models import TranscriptionJob, Upload
from voice.queries import has_webhook_secret
from voice.speech.choice import Chosen
from voice.speech.credit import payable_s
from voice.threads import Workshop, in_thread
from voice.uploads.folder import folder
from voice.uploads.store import store

# A small file may be hours of silence: no more of it is decoded, for nothing, than is heard at once.
WHILE_ONE_WAITS = replace(USUAL_LIMITS, longest_s=PART_MOST_MS // 1_000 + 1, cpu_s=30, wall_clock_s=60)
PREPARED_AT_ONCE = 2  # files that a process decodes, or finds the speakers of
PREPARED_LATER = 16  # and those that wait for that
PREPARED_OF_EACH = 4  # organization
FETCH_TIMEOUT_S = 120
FETCH_MOST_BYTES = 100 * 2**20  # while the caller waits; a job fetches what an upload may have

_workshop = Workshop("meetings", threads=PREPARED_AT_ONCE, waiting=PREPARED_LATER, each=PREPARED_OF_EACH)


@dataclass(frozen=True, slots=True)
class _Meeting:
    """A request, and what was found out about it; `upload` is the one that it names."""

    session: Session
    asked: MeetingAsked
    chosen: Chosen
    upload: Upload | None


async def serve_meeting(exchange: Exchange, services: Services) -> None:
    """Raises what the caller must be told before the first byte."""
    session = await services.authenticator.authenticate(exchange)

    async def renew() -> Session:
        return await services.authenticator.authenticate(exchange)

    payer = Payer(services, renew)
    body = await services.bodies.read_any(exchange, BODY_MOST_BYTES)
    async with admitted(session, services, exchange):
        asked = await asyncio.to_thread(parse_meeting, exchange.header(b"content-type"), body)
        if asked.webhook_url and not await in_thread(has_webhook_secret, session.caller.organization_id):
            message = "This organization has no webhook secret to sign with; make one on /dashboard/voice."
            raise BadRequest(message, param="webhookUrl")
        chosen = choose_ears(await services.fresh_catalog(), session, asked.options)
        await payable_s(chosen, session.caller, services)
        await in_thread(demand_room, session.caller.organization_id)  # it may turn out too long to be waited for
        upload = await in_thread(_upload_of, session, asked)
        told = None if asked.is_async else await _heard(exchange, payer, _Meeting(session, asked, chosen, upload))
        if told is None:
            await _answer_later(exchange, session, asked, upload)
            return
    if asked.options.summarize and told.transcript.text:  # its chats take places of their own
        told = replace(told, summary=await summarize(payer, lines_of(told.transcript)))
    await _answer(exchange, told)


def _upload_of(session: Session, asked: MeetingAsked) -> Upload | None:
    """The upload that is named, whole. Raises `NotFound`, `BadRequest`."""
    if not asked.audio_key:
        return None
    upload = access_upload(session.caller.organization_id, asked.audio_key)
    return do_take_in(upload)


class _TakesLong(Exception):
    """Nobody should wait for it: it belongs into a job."""


@contextlib.asynccontextmanager
async def _source(asked: MeetingAsked) -> AsyncIterator[Path]:
    """The audio of the request, or behind its URL, as a file for as long as the block lasts. Raises `_TakesLong`."""
    with tempfile.NamedTemporaryFile(dir=folder()) as file:
        if asked.audio is not None:
            await in_thread(file.write, asked.audio.data)
        else:
            await _fetch(asked.audio_url, file)
        await in_thread(file.flush)
        yield Path(file.name)


async def _fetch(url: str, sink: Sink) -> None:
    """Raises `_TakesLong` for what a job may have, `UrlRefused`, `UrlUnreachable`."""
    egress = Egress()
    try:
        async with asyncio.timeout(FETCH_TIMEOUT_S):
            await egress.fetch(url, sink, most_bytes=FETCH_MOST_BYTES, timeout_s=math.inf, param="audioUrl")
    except (TimeoutError, PayloadTooLarge):
        raise _TakesLong from None


@contextlib.asynccontextmanager
async def _recording(meeting: _Meeting) -> AsyncIterator[Recording]:
    """The samples, for as long as the block lasts. Raises `_TakesLong`."""
    upload = meeting.upload
    if upload is not None and upload.received_bytes > FETCH_MOST_BYTES:
        raise _TakesLong
    async with contextlib.AsyncExitStack() as stack:
        fetched = None if upload is not None else await stack.enter_async_context(_source(meeting.asked))

        def prepare() -> Recording:
            path = fetched if upload is None else stack.enter_context(store().opened(upload))
            assert path is not None
            return stack.enter_context(recording_of(path, folder(), WHILE_ONE_WAITS))

        try:
            recording = await _workshop.run(meeting.session.caller.organization_id, prepare)
        except AudioTooLong:
            raise _TakesLong from None
        yield recording


async def _heard(exchange: Exchange, payer: Payer, meeting: _Meeting) -> Told | None:
    """The meeting, transcribed; None where that takes too long for a caller who waits."""
    chosen, options = meeting.chosen, meeting.asked.options
    async with contextlib.AsyncExitStack() as stack:
        try:
            recording = await stack.enter_async_context(_recording(meeting))
        except _TakesLong:
            return None
        if recording.length_ms > PART_MOST_MS or not takes_whole(chosen, recording):
            return None
        span = spans_of(chosen, recording)[0]
        exchange.is_begun = True
        audio = await in_thread(audio_of, chosen, recording, span)
        heeded = await hear(payer, chosen, PartAsked(exchange.request_id, audio, options))
        whole = joined([(span, heeded.heard.transcript)])
        transcript = await _workshop.finish(lambda: name_speakers(whole, recording, options))
    return Told(
        transcript=transcript,
        options=options,
        models=(heeded.offer.model_id,),
        request_ids=(exchange.request_id,),
        cost_nano=heeded.settled.charge,
        ignored=meeting.asked.ignored,
    )


async def _answer(exchange: Exchange, told: Told) -> None:
    cost = (b"x-komilion-cost", format_usd(told.all_nano).encode())
    if told.options.format == "json":
        await exchange.respond_json(told_json(told), headers=[cost])
        return
    text, media_type = told_as(told, told.options.format)
    body = text.encode("utf-8", "replace")
    await exchange.start(200, [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body)), cost])
    await exchange.write(body, last=True)


async def _answer_later(exchange: Exchange, session: Session, asked: MeetingAsked, upload: Upload | None) -> None:
    """202. What came in the request itself is kept as an upload, so that any worker finds it."""
    job = await in_thread(_make_job, session, asked, upload)
    await exchange.respond_json(job_json(job), 202, [(b"location", f"/api/voice/jobs/{job.pk}".encode())])


def _make_job(session: Session, asked: MeetingAsked, upload: Upload | None) -> TranscriptionJob:
    caller = session.caller
    if asked.audio is not None:
        upload = do_keep_upload(caller, asked.audio)
    return do_make_job(
        NewJob(
            organization_id=caller.organization_id,
            member_id=caller.member_id,
            key_id=caller.key_id,
            options=asked.options,
            upload_key=None if upload is None else upload.key,
            url=asked.audio_url,
            webhook_url=asked.webhook_url,
        )
    )
