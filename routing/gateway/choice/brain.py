"""The brain of one process: what it knows of models, and the choice of one for a request. In memory, without waiting.

For each state of the catalogue there is one `Ready`: the market, the quality of its models, what live traffic and votes
say of them. It is built in a thread and put in the place of the last one together with the catalogue, so that a choice
never names an offer of yesterday.

A part that fails never fails a call: what cannot be read or scored leaves the cheapest model that can serve the
request, which is never dearer than what would have been chosen.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from accounts.access import Caller
from komilion.common.clock import unix_s, utc_now
from komilion.common.errors import KomilionError
from komilion.common.numbers import numbers
from routing.catalog.snapshot import Catalog, OfferEntry
from routing.gateway.choice.preferences import NO_PREFERENCES, Preferences
from routing.gateway.choice.wishes import policy_of
from routing.gateway.count_tokens import count_media
from routing.providers.base import ChatRequest
from routing.selection.choose import Choice, Inputs, Reading, choose, pin_for
from routing.selection.cost import InputSize, estimate_input
from routing.selection.features import Question, read_question
from routing.selection.filters import Needs, feasible
from routing.selection.live import Live, LiveView
from routing.selection.market import Market
from routing.selection.offsets import Offsets, OffsetsView
from routing.selection.quality import Quality, Strengths
from routing.selection.sessions import Sessions, Sticky, session_key
from routing.selection.trials import trial_for
from routing.selection.weights import Weights
from routing.selection.words import DEFAULT_POLICY
from routing.selection.workflow import wanted

log = logging.getLogger(__name__)

NO_THINKING = frozenset({None, "none", "minimal"})  # efforts for which any model will do
BYTES_PER_TOKEN = 4  # where nothing better is known
DIFFICULTY_DECIMALS = 3
DEGRADED = {"alarm": "selection_degraded"}


class Asked(msgspec.Struct, frozen=True):
    """A request for a choice: what, by whom, with which pins, while which (provider, model) are failing.

    `session` is the conversation that it belongs to, as `session_of` names it; empty where that is nobody's business.
    Without a `request_id` it is no part of a trial.
    """

    chat: ChatRequest
    body_bytes: int
    caller: Caller
    preferences: Preferences = NO_PREFERENCES
    open_offers: frozenset[tuple[str, str]] = frozenset()
    session: bytes = b""
    request_id: str = ""

    @property
    def policy(self) -> str:
        """By which the model is chosen."""
        return policy_of(self.chat) or DEFAULT_POLICY


def session_of(chat: ChatRequest, caller: Caller) -> bytes:
    """A name for the conversation that a request belongs to, which says nothing about it."""
    return session_key(numbers.KEY_PEPPER, str(caller.organization_id), chat.wishes.session_id, chat.messages)


@dataclass(slots=True)
class Ready:
    """Everything about one state of the catalogue. `live` and `offsets` are replaced as traffic and votes come."""

    market: Market
    quality: Quality | None
    live: LiveView | None = None
    offsets: OffsetsView | None = None


class Brain:
    """One per process; `ready` is set by who sets the catalogue."""

    def __init__(self) -> None:
        self.ready: Ready | None = None
        self.sessions = Sessions()
        self._weights: Weights | None = None
        self._strengths: Strengths | None = None
        self._live = Live()
        self._offsets = Offsets()

    # what takes long, in a thread

    def prepare(self, catalog: Catalog) -> Ready | None:
        """What the choice needs to know of this catalogue. Blocking: files are read the first time. Never raises."""
        try:
            ready = Ready(Market.build(catalog, utc_now().date()), None)
        except Exception:
            log.exception("no market of this catalogue", extra=DEGRADED)
            return None
        try:
            self._weights = self._weights or Weights.load()
            self._strengths = self._strengths or Strengths.load()
            ready.quality = Quality.build(self._weights, ready.market.facts.models, self._strengths)
        except Exception:
            log.exception("models cannot be scored", extra=DEGRADED)
        self._look_at(ready)
        return ready

    def take_live(self, live: Live) -> None:
        """What traffic says of late, of all processes."""
        self._live = live
        if self.ready is not None:
            self._look_at(self.ready)

    def take_offsets(self, offsets: Offsets) -> None:
        """What votes say."""
        self._offsets = offsets
        if self.ready is not None:
            self._look_at(self.ready)

    def _look_at(self, ready: Ready) -> None:
        now_s = unix_s()
        ready.live = LiveView(ready.market, self._live, now_s)
        ready.offsets = self._offsets.view(ready.market, now_s)

    def first_content_p99_s(self, provider: str, model: str) -> float | None:
        """What the limit of a silent answer goes by; None where too little came of late."""
        return self._live.first_content_p99_s(provider, model, unix_s())

    # for each request

    def decide(self, asked: Asked) -> Choice | None:
        """Who answers. None where nothing can be chosen from; raises what an empty set of candidates means."""
        ready = self.ready
        if ready is None:
            return None
        for attempt in (self._decide, self._decide_blindly):
            try:
                return attempt(ready, asked)
            except KomilionError:
                raise
            except Exception:
                log.exception("no choice", extra=DEGRADED)
        return None

    def _decide(self, ready: Ready, asked: Asked) -> Choice:
        question = read_question(asked.chat, asked.chat.wishes.task_hint)
        assert self._weights is not None
        assert ready.quality is not None
        reading = self._weights.read(question)
        return choose(
            Inputs(
                filtered=feasible(ready.market, _needs(asked, _input_tokens(asked.chat, question))),
                policy=asked.policy,
                reading=reading,
                quality=ready.quality.score(reading),
                weights=ready.quality.version,
                pin=pin_for(asked.preferences.pins, reading),
                trial=trial_for(asked.preferences.trials, reading.task, asked.request_id),
                session=self.sessions.get(asked.session, unix_s()),
                live=ready.live,
                offsets=ready.offsets,
                hint=question.hint,
                workflow=wanted(question.text, question.tools, server_tools=False),
            )
        )

    @staticmethod
    def _decide_blindly(ready: Ready, asked: Asked) -> Choice:
        """The cheapest that can serve it."""
        needs = _needs(asked, asked.body_bytes // BYTES_PER_TOKEN + 1)
        return choose(Inputs(feasible(ready.market, needs), asked.policy, None, None, hint=asked.chat.wishes.task_hint))

    def classify(self, question: Question) -> Mapping[str, Any] | None:
        """What the usage row of a call that named its model keeps of its question; None where it cannot be read."""
        if self._weights is None:
            return None
        try:
            return facts_of(self._weights.read(question))
        except Exception:
            log.exception("a question cannot be read", extra=DEGRADED)
            return None

    def expect(self, asked: Asked, offer: OfferEntry) -> tuple[int, int] | None:
        """Input and output tokens that are expected of this offer, over all choices; None where nobody can say."""
        ready = self.ready
        if ready is None or self._weights is None or offer.model_id not in ready.market.index:
            return None
        try:
            question = read_question(asked.chat, asked.chat.wishes.task_hint)
            needs = _needs(asked, _input_tokens(asked.chat, question))
            view = ready.live or LiveView(ready.market)
            lengths = view.lengths.expected(needs.effort, needs.max_output_tokens)
            tokens = lengths[ready.market.index[offer.model_id]] @ self._weights.read(question).tasks
            return needs.input_tokens, round(float(tokens) * needs.choices)
        except Exception:
            log.exception("nothing to be expected", extra=DEGRADED)
            return None

    def remember(self, session: bytes, model: str, provider: str, tokens: int) -> None:
        """Who answered this conversation, which has so many tokens now."""
        self.sessions.note(session, Sticky(model, provider, tokens, unix_s()))


def facts_of(reading: Reading) -> dict[str, Any]:
    """The readable part of a reading."""
    return {"task_type": reading.task, "difficulty": round(float(reading.difficulty), DIFFICULTY_DECIMALS)}


def _needs(asked: Asked, input_tokens: int) -> Needs:
    chat = asked.chat
    effort = chat.parameters.get("reasoning_effort")
    return Needs(
        input_tokens=input_tokens,
        max_output_tokens=chat.max_output_tokens,
        choices=chat.choices,
        effort=effort,
        capabilities=chat.needs if effort in NO_THINKING else chat.needs | {"reasoning"},
        allowed=asked.caller.models_allowed,
        open_offers=asked.open_offers,
    )


def _input_tokens(chat: ChatRequest, question: Question) -> int:
    size = InputSize(
        characters=sum(map(characters_in, chat.messages)),
        messages=len(chat.messages),
        schema_bytes=question.schema_bytes,
        media=count_media(chat.messages),
    )
    return estimate_input(question.text, size)


def characters_in(message: dict[str, Any]) -> int:
    """Of everything in a message that a model reads as text."""
    content = message.get("content")
    if isinstance(content, str):
        return len(content)
    parts = content if isinstance(content, list) else ()
    return sum(len(part.get("text") or "") for part in parts)
