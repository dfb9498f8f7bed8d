"""The life of a chat request, in the order data flows. Read this first; each step is one module of its own name.

authenticate -> limit -> route (planning) -> reserve -> call -> answer or stream (which meter and settle)
"""

from msgspec.structs import replace

from komilion.common.clock import monotonic_s, utc_now
from komilion.common.errors import InsufficientBalance, KomilionError, Unavailable
from routing.gateway.answer import answer
from routing.gateway.calls import Calls
from routing.gateway.choice.planning import catalog_for, plan_call
from routing.gateway.exchange import Exchange
from routing.gateway.forms import OPENAI, Form
from routing.gateway.idempotency import AlreadyMade, refuse_or_replay, replay
from routing.gateway.inbound import parse_inbound
from routing.gateway.limit import Limit
from routing.gateway.progress import Progress
from routing.gateway.reserve import CallerChanged, reserve
from routing.gateway.services import Services
from routing.gateway.settle import Settlement
from routing.gateway.shares import Shares
from routing.gateway.stream import Stream
from routing.gateway.types import Admitted, Inbound, Reserved, Session
from routing.gateway.watch import Watch

ROUNDS = 3  # of looks at a caller whose rights change meanwhile
SOON = {"Retry-After": "1"}
TIMESTAMP_LENGTH = len("2026-01-31 12:00:00.000000")  # without the zone, which is UTC


async def serve_chat(exchange: Exchange, services: Services, form: Form = OPENAI, shares: Shares | None = None) -> None:
    """From the first header to the last, settled byte. Raises what the caller must be told before the first byte.

    `shares` are those of the calls that are compared with this one.
    """
    progress = Progress(monotonic_s(), utc_now().isoformat(" ", "microseconds")[:TIMESTAMP_LENGTH])
    session = await services.authenticator.authenticate(exchange)
    inbound: Inbound | KomilionError
    try:
        inbound = parse_inbound(exchange, await services.bodies.read(exchange), form)
    except KomilionError as error:
        inbound = error  # it counts as a request, and its answer carries the state of the limits
    async with Limit(exchange, session, inbound, services.limiter) as admitted:
        try:
            reserved = await _plan_and_reserve(exchange, admitted, services, shares)
        except AlreadyMade as known:
            await replay(exchange, known)
            return
        exchange.is_begun = True
        settlement = Settlement(
            exchange.request_id, admitted, reserved, progress, services.committer, services.process_id
        )
        try:
            async with settlement, Watch(exchange) as watch:
                calls = Calls(exchange, reserved, progress, watch, services)
                if admitted.inbound.chat.stream:
                    await Stream(exchange, calls, settlement, watch, services.committer).relay()
                else:
                    await answer(exchange, calls, settlement)
        finally:
            exchange.settled = settlement.settled
            services.losses.add(reserved.caller.organization_id, settlement.attempt_loss)
        services.learning.take_notice(settlement)


async def _plan_and_reserve(
    exchange: Exchange, admitted: Admitted, services: Services, shares: Shares | None
) -> Reserved:
    """Again with a fresh look at the caller where its rights changed since they were cached; a few times."""
    session: Session = admitted.session
    claim = admitted.inbound.claim
    catalog = await catalog_for(admitted.inbound, services, admitted.admission.catalog_version)
    for _ in range(ROUNDS):
        try:
            plan = await plan_call(admitted.inbound, session.caller, catalog, services)
        except KomilionError as error:
            await refuse_or_replay(claim, error)
            raise
        if shares is not None:
            plan = replace(plan, share=await shares.each(session.caller.organization_id))
        try:
            return await reserve(
                plan, session.caller, exchange.request_id, services.committer, services.process_id, claim
            )
        except CallerChanged:
            services.authenticator.forget_organization(session.caller.organization_id)
            session = await services.authenticator.authenticate(exchange)
        except InsufficientBalance as error:
            services.refusals.note(session.caller, error)
            raise
    raise Unavailable("Something about your organization is being changed all the time; try again.", headers=SOON)
