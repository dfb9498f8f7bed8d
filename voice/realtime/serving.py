"""`POST /api/voice/realtime` and `POST /v1/realtime/client_secrets`: prepare a session, for a client without a key.

Both answer a token that opens one session within ten minutes. Nothing is held before it is opened.
"""

from typing import Any

from django.conf import settings

from komilion.common.clock import unix_s
from komilion.common.errors import BadRequest
from komilion.common.ids import new_id
from komilion.common.numbers import numbers
from routing.gateway.authenticate import credential_of
from routing.gateway.exchange import Exchange
from routing.gateway.json_guard import parse_object
from routing.gateway.limit import count
from routing.gateway.notes import usd
from routing.gateway.services import Services
from routing.selection.words import DEFAULT_POLICY
from voice.realtime.cascade_ahead import TOOLS, demand_tools
from voice.realtime.engines import answerer_of, estimated_per_minute
from voice.realtime.events import Event
from voice.realtime.schema import PCM_RATE_HZ, SESSION, SESSION_WISHES
from voice.realtime.tickets import Ticket, identity_of, keep

SOCKET_PATH = "/ws/voice/realtime"
DEFAULT_VOICE = "alloy"
PCM: Event = {"type": "audio/pcm", "rate": PCM_RATE_HZ}
AUDIO_FORMAT: Event = {"encoding": "pcm16", "sampleRate": PCM_RATE_HZ, "channels": 1}
LEAST_SECRET_LIFETIME_S = 10


async def serve_ticket(exchange: Exchange, services: Services) -> None:
    """`{policy, voice, instructions?, tools?, showBalance?}` -> `{url, token, expiresAt, sessionConfig, model,
    audioFormat, estimatedCostPerMinute, maxSeconds}`.
    """
    session = await services.authenticator.authenticate(exchange)
    await count(exchange, session, services.limiter)
    body = parse_object(await services.bodies.read(exchange) or b"{}")
    SESSION_WISHES(body, "")
    policy = body.get("policy", DEFAULT_POLICY)
    name = f"neo-mode/{policy}"
    answerer = answerer_of(await services.fresh_catalog(), name, session)
    config, identity = _config(body, answerer.writes), identity_of(credential_of(exchange))
    if answerer.parts is not None:
        await demand_tools(services, session, answerer.parts, config, TOOLS)
    tells_balance = body.get("showBalance", identity.page is not None)  # our own page shows it to a member
    per_minute_nano = await estimated_per_minute(answerer, services, session, config)
    ticket = Ticket(identity, name, config, tells_balance)
    token, expires_at = await _issue(ticket, numbers.REALTIME_TICKET_LIFETIME_S)
    await exchange.respond_json(
        {
            "url": f"{settings.PUBLIC_URL.replace('http', 'ws', 1)}{SOCKET_PATH}?token={token}",
            "token": token,
            "expiresAt": expires_at,
            "sessionConfig": config,
            "model": answerer.model,
            "audioFormat": AUDIO_FORMAT,
            "estimatedCostPerMinute": usd(per_minute_nano),
            "estimatedCostPerMinuteNanoUsd": per_minute_nano,
            "maxSeconds": numbers.REALTIME_SESSION_LIMIT_S,
        }
    )


async def serve_client_secret(exchange: Exchange, services: Services) -> None:
    """OpenAI's shape: `{expires_after?: {anchor, seconds}, session: {type: "realtime", model, ...}}` ->
    `{value, expires_at, session}`. Unlike OpenAI's, the value opens one session.
    """
    session = await services.authenticator.authenticate(exchange)
    await count(exchange, session, services.limiter)
    body = parse_object(await services.bodies.read(exchange))
    unknown = sorted(set(body) - {"session", "expires_after"})
    if unknown:
        raise BadRequest(f"Unknown parameter: `{unknown[0][:80]}`.", param=unknown[0][:80])
    config = body.get("session") or {}
    SESSION(config, "session")
    model = config.get("model")
    if not model:
        raise BadRequest("`session.model` is missing.", param="session.model")
    answerer = answerer_of(await services.fresh_catalog(), model, session)
    if answerer.parts is not None:
        await demand_tools(services, session, answerer.parts, config)
    ticket = Ticket(identity_of(credential_of(exchange)), model, config)
    token, expires_at = await _issue(ticket, _lifetime_s(body.get("expires_after")))
    told = {**config, "object": "realtime.session", "id": new_id("sess"), "model": answerer.model}
    await exchange.respond_json({"value": token, "expires_at": expires_at, "session": told})


async def _issue(ticket: Ticket, lifetime_s: int) -> tuple[str, int]:
    return await keep(ticket, lifetime_s), unix_s() + lifetime_s


def _config(body: Event, writes: str) -> Event:
    """The GA `session` that the client sends as its `session.update`."""
    heard: Event = {"format": PCM, "turn_detection": {"type": "server_vad"}}
    if writes:
        heard["transcription"] = {"model": writes}
    spoken = {"format": PCM, "voice": body.get("voice", DEFAULT_VOICE)}
    config: dict[str, Any] = {"type": "realtime", "output_modalities": ["audio"]}
    config["audio"] = {"input": heard, "output": spoken}
    return config | {name: body[name] for name in ("instructions", "tools") if name in body}


def _lifetime_s(expires_after: Any) -> int:
    """No longer than a ticket's own lifetime, whatever is asked for."""
    if expires_after is None:
        return numbers.REALTIME_TICKET_LIFETIME_S
    seconds = expires_after.get("seconds") if isinstance(expires_after, dict) else None
    if type(seconds) is not int or seconds < LEAST_SECRET_LIFETIME_S:
        least = f"a whole number from {LEAST_SECRET_LIFETIME_S}"
        raise BadRequest(f"`expires_after.seconds` must be {least}.", param="expires_after.seconds")
    return min(seconds, numbers.REALTIME_TICKET_LIFETIME_S)
