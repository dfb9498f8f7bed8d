"""What the next turn of a cascade will come to, and the hold that says that there is money for it.

While nothing is heard, thought or spoken, half a minute each way is held at the worst price of who would be asked, so
that a wallet which cannot pay for a turn is told before anybody works for it. When a turn begins this hold is given
back, and each part holds for itself (`cascade_parts`); behind the turn the next one is placed.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson

from billing.prices import PriceVersion
from komilion.common.errors import BadRequest, KomilionError, ModelNotAllowed
from komilion.common.numbers import numbers
from komilion.common.tasks import spawn
from routing.gateway.choice.planning import plan_call
from routing.gateway.forms import OPENAI
from routing.gateway.metered import MeteredCall
from routing.gateway.parameters import Extras
from routing.gateway.services import Services
from routing.gateway.types import Attempt, Inbound
from routing.gateway.types import Session as CallerSession
from routing.providers.speech import Speaking
from voice.realtime.cascade_answer import ENDS_SESSION
from voice.realtime.cascade_chat import chat_of
from voice.realtime.cascade_parts import Parts
from voice.realtime.estimate import CHARACTERS_PER_S
from voice.realtime.events import Event
from voice.realtime.reckoning import TRANSCRIPT_TOKENS_PER_S
from voice.realtime.session import Session
from voice.speech.listening import likely_usage
from voice.speech.saying import bound_of as speech_bound

log = logging.getLogger(__name__)

LEAST_S = 5  # of hearing and speaking that a wallet must pay for, beside the least that a chat starts with
RENEW_AT = 0.5  # of a hold's lifetime
TYPICAL_TURN = "That sounds good. And what would you do there if it rains tomorrow? Could we still go by train?"
TOOLS = "tools"
NO_EXTRAS = Extras("", "")


@dataclass(frozen=True, slots=True)
class Turn:
    """The next turn: the price at which it would be thought, and nano-USD of all its parts, at most and at least."""

    thinks: PriceVersion
    most: int
    least: int


async def next_turn(
    services: Services, caller: CallerSession, parts: Parts, config: Event, items: Iterable[Event] = ()
) -> Turn:
    """Ask the gateway whom it would ask, without asking anybody. `config` is the GA `session`, `items` what was said.

    Raises `KomilionError` where it could ask nobody.
    """
    user = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": TYPICAL_TURN}]}
    body = chat_of(parts.thinks, config, [*items, user], is_spoken=True)
    body["stream"] = True
    inbound = Inbound(OPENAI.parse(body, NO_EXTRAS), OPENAI, len(orjson.dumps(body)), "", "", "")
    plan = await plan_call(inbound, caller.caller, services.catalog, services, may_probe=False)
    attempts = plan.attempts[: numbers.ATTEMPTS_MOST]
    hold_s = numbers.REALTIME_HOLD_S
    most = max(_thinking(attempt, hold_s * TRANSCRIPT_TOKENS_PER_S) for attempt in attempts)
    least = min(_thinking(attempt, numbers.START_OUTPUT_TOKENS) for attempt in attempts)
    least += min(_heard_and_spoken(parts, LEAST_S))
    return Turn(attempts[0].offer.price, max(most + max(_heard_and_spoken(parts, hold_s)), least), least)


async def demand_tools(
    services: Services, caller: CallerSession, parts: Parts, config: Event, param: str = f"session.{TOOLS}"
) -> None:
    """Raise `BadRequest` where `config` has tools and no model that may think can use any.

    Whatever else keeps a model from answering may be over by the next turn, and is told by that.
    """
    if not config.get(TOOLS):
        return
    try:
        await next_turn(services, caller, parts, config)
    except KomilionError as error:
        if isinstance(error, BadRequest | ModelNotAllowed) and TOOLS in error.extra.get("filters", ()):
            message = "No model that would answer here can use tools; leave them out, or take another policy."
            raise BadRequest(message, param=param) from error


def _thinking(attempt: Attempt, output_tokens: int) -> int:
    return attempt.offer.price.ceiling(attempt.input_bound, min(attempt.output_ceiling, output_tokens))


def _heard_and_spoken(parts: Parts, seconds: int) -> list[int]:
    """What so long each way costs at each pair of offers."""
    words = Speaking("x" * (seconds * CHARACTERS_PER_S), "", "pcm")
    heard = [offer.price.charge(likely_usage(seconds * 1000, offer)).charge for offer in parts.hears.offers]
    spoken = [
        offer.price.charge(speech_bound(words, offer, 1_000 // CHARACTERS_PER_S)).charge
        for offer in parts.speaks.offers
    ]
    return [min(heard) + min(spoken), max(heard) + max(spoken)]


class Reserve:
    """The hold of one session, while nothing runs."""

    def __init__(self, session: Session, parts: Parts) -> None:
        self._session = session
        self._parts = parts
        self._call: MeteredCall | None = None
        self._moving = asyncio.Lock()
        self._renewal: asyncio.TimerHandle | None = None

    async def place(self) -> None:
        """Hold for the next turn. Raises what `MeteredCall.hold` and `next_turn` do."""
        async with self._moving:
            await self._place()

    async def follow(self, is_due: Callable[[], bool]) -> None:
        """Hold for the next turn behind the last one, if that `is_due` still; end the session where money or rights are
        missing. Anything else that is wrong is told by the answer that it makes impossible.
        """
        try:
            async with self._moving:
                if is_due():
                    await self._place()
        except ENDS_SESSION as error:
            self._session.fail(error)
        except KomilionError as error:
            log.info("nothing is held ahead", extra={"reason": error.reason, "session_id": self._session.id})

    async def give_back(self) -> None:
        """A turn begins, or the session ends."""
        async with self._moving:
            await self._give_back()

    async def _place(self) -> None:
        await self._give_back()
        session = self._session
        config, items = session.conversation.config, session.conversation.items.values()
        turn = await next_turn(session.services, session.caller, self._parts, config, items)
        call = session.tab.new_call()
        await call.hold_nano(turn.most, turn.least)
        session.tab.note(call)
        self._call = call
        loop = asyncio.get_running_loop()
        self._renewal = loop.call_later(numbers.HOLD_LIFETIME_S * RENEW_AT, self._renew_soon)

    async def _give_back(self) -> None:
        call, self._call = self._call, None
        if self._renewal is not None:
            self._renewal.cancel()
        if call is not None:
            await self._session.tab.void(call)

    def _renew_soon(self) -> None:
        _ = spawn(self._renew(), name="cascade-reserve")

    async def _renew(self) -> None:
        """Before the hold is too old, while somebody thinks about what to say."""
        await self.follow(lambda: self._call is not None)
