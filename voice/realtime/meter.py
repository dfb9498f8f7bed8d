"""The meter of a relayed session: what runs is counted, what has ended is charged, and a hold is always ahead of both.

Events are reported as they pass (`began`, `spoke`, `wrote`, `ended`), which costs an addition each. What asks the
ledger runs behind them, one at a time and in order: extensions while an answer comes, the turn from one call to the
next when it has ended. Where nothing more is granted, what is held is used up first; then `exhausted` is called, once.
What would make the provider answer, or an answer dearer, is not sent before `covers` says that it is paid for.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from komilion.common.errors import InsufficientBalance, KeyCapReached, KomilionError, LedgerUnavailable
from komilion.common.numbers import numbers
from komilion.common.usage import INPUT_BUCKETS, OUTPUT_BUCKETS, Usage, UsageSource
from routing.catalog.voice import VoiceOffer
from routing.gateway.reserve import Extension
from routing.gateway.types import Outcome
from routing.providers.realtime import response_usage
from voice.realtime.in_order import InOrder
from voice.realtime.modes import CHARS_PER_S
from voice.realtime.reckoning import Answer, Reckoning
from voice.realtime.tab import Bounds, Rolling, Spent, Tab, uncovered
from voice.speech.belief import can_be_true

AHEAD_S = 10  # of output that the hold must pay for beyond what has come
STOP_S = 3  # of each answer that is still paid for when it is cancelled: the provider speaks on until it hears of that
HEARD_S = 1  # of speech that may go up before `covers` is asked again
RENEW_AT = 0.5  # of a hold's lifetime


class Meter:
    """Of one session at one offer. `exhausted` is told why nothing more is paid for."""

    def __init__(self, tab: Tab, offer: VoiceOffer, exhausted: Callable[[KomilionError], None]) -> None:
        self.offer = offer
        self.reckoning = Reckoning(offer.price)
        self.refused: Extension | None = None  # why nothing more is granted for what runs
        self.is_closing = False  # no hold for a next answer
        self._tab = tab
        self._rolling = Rolling(tab, (offer,))
        self._exhausted = exhausted
        self._behind = InOrder("realtime-money")
        self._done: set[str] = set()  # ids of responses that were charged
        self._unsettled = 0  # answers that have ended
        self._is_extending = False
        self._chars_left = 0  # audio that may come before the next look at the hold
        self._renewal: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Place the first hold. Raises `InsufficientBalance`, `KeyCapReached`, `LedgerUnavailable`, 401 and 403."""
        await self._rolling.open(self.reckoning.bounds())
        self._renew_later()

    async def close(self) -> None:
        """Give back what is held, after what is being settled."""
        if self._renewal is not None:
            self._renewal.cancel()
        await self._behind.done()
        await self._rolling.close()

    async def covers(self, seconds: int, asking: Answer | None = None) -> bool:
        """Whether what is held pays for all that may be billed, for `asking`, and for so many seconds of each answer.
        Waits for more to be held, where that is needed; where it is not to be had, `exhausted` is called.
        """
        if not self._is_covered(seconds, asking):
            self._behind.add(self._cover(seconds, asking))
            await self._behind.done()
        return self._is_covered(seconds, asking)

    async def make_room(self) -> None:
        """Give back what is held beyond the least that the next answer needs, while none runs: something else of the
        session has to be held for.
        """
        self._behind.add(self._give_back())
        await self._behind.done()

    def began(self, response: Mapping[str, Any]) -> None:
        """A response runs, as the provider says."""
        is_beside = response["conversation_id"] is None if "conversation_id" in response else None
        self.reckoning.begin(response["id"], is_beside=is_beside, told=response)
        self._look()

    def spoke(self, response_id: str, audio_chars: int) -> None:
        """So much base64 of audio came."""
        answer = self.reckoning.answers.get(response_id)
        if answer is None or answer.weight is None:
            return
        audio_chars *= answer.weight
        if not answer.audio_chars:
            self._rolling.note_first_content()
        answer.audio_chars += audio_chars
        self._chars_left -= audio_chars
        if self._chars_left < 0:
            self._look()

    def wrote(self, response_id: str, text: str) -> None:
        """So much text came: of an answer, of a transcript or as the arguments of a function."""
        answer = self.reckoning.answers.get(response_id)
        if answer is None:
            return
        if not answer.text_bytes:
            self._rolling.note_first_content()
        answer.text_bytes += len(text.encode("utf-8", "surrogatepass"))
        self._look()

    def ended(self, response: Mapping[str, Any], detail: Mapping[str, Any], then: Outcome = "completed") -> None:
        """A response has ended, with the provider's word on it: charge for it, and hold for the next one.

        Without usage its input and what was delivered are charged as counted. Where it failed, or the connection was
        lost, before anything came, nothing is. Of a usage that cannot be true, input counts as far as it can be, since
        who speaks may have found input that we do not see; output counts as it was delivered.
        """
        response_id = str(response.get("id"))
        if response_id in self._done:
            return
        self._done.add(response_id)
        if self.reckoning.asked and response_id not in self.reckoning.answers:  # it was not told that it began
            self.reckoning.begin(response_id, told=response)
        answer = self.reckoning.answers.get(response_id)
        is_free = answer is None or (response.get("status") == "failed" and not answer.is_begun)
        counted = None if answer is None or is_free else self.reckoning.counted(answer)
        usage, source = self._believed(response, answer, counted)
        is_beside = response.get("conversation_id", "") is None or (answer is not None and answer.is_beside)
        self.reckoning.end(response_id, None if is_beside else usage)
        outcome: Outcome = then
        if response.get("status") == "failed":
            outcome = "provider_failed" if counted is None else "provider_cut"
        spent = Spent(self.offer, usage or Usage(), source, outcome, {**detail, "response_id": response_id})
        self._settle(spent, response_id)

    def _believed(
        self, response: Mapping[str, Any], answer: Answer | None, counted: Usage | None
    ) -> tuple[Usage | None, UsageSource]:
        reported = response_usage(response)
        is_begun = answer is not None and answer.is_begun
        if is_begun and reported is not None and not reported.total_output:
            reported = None  # something came, and it was not nothing
        if counted is None and response.get("status") == "failed":
            reported = None
        if reported is None:
            return counted, "absent" if counted is None else "estimated"
        return self._as_far_as_true(reported, answer, counted or Usage(), str(response.get("id")))

    def _as_far_as_true(
        self, reported: Usage, answer: Answer | None, counted: Usage, response_id: str
    ) -> tuple[Usage, UsageSource]:
        """A mistake of the provider must not become the wallet's debt."""
        most = self.reckoning.believable(answer)

        def can_be(*names: str) -> bool:
            return can_be_true(_only(names, reported), _only(names, most), self.offer, response_id=response_id)

        is_input_true = can_be(*INPUT_BUCKETS)
        is_output_true = can_be("output") and can_be("output_audio")  # thoughts may be many, sound is what came of it
        read = _only(INPUT_BUCKETS, reported if is_input_true else most)
        made = _only(OUTPUT_BUCKETS, reported if is_output_true else counted)
        source: UsageSource = "provider" if is_input_true and is_output_true else "estimated"
        return Usage(**read.buckets(), **made.buckets()), source

    def left(self, detail: Mapping[str, Any], then: Outcome) -> None:
        """Nobody waits any more for what was asked for and has not begun: the provider has its input all the same."""
        for answer in self.reckoning.asked:
            spent = Spent(self.offer, self.reckoning.counted(answer), "estimated", then, detail)
            self._settle(spent)
        self.reckoning.asked.clear()

    async def settled(self) -> None:
        """Until what was queued so far is done."""
        await self._behind.done()

    # behind the events

    def _look(self) -> None:
        """Compare what runs with what is held: extend ahead of it, or stop where it is used up."""
        reckoning, held = self.reckoning, self._rolling.held
        if not held:
            return  # between two holds; the turn looks again
        if reckoning.needs_nano(AHEAD_S) <= held:
            self._chars_left = CHARS_PER_S
        elif self.refused is not None:
            self._chars_left = 0
            if reckoning.needs_nano(STOP_S) >= held:
                self._stop()
        elif not self._is_extending:
            self._is_extending = True
            self._behind.add(self._extend_ahead())

    async def _extend_ahead(self) -> None:
        try:
            await self._extend(self.reckoning.needs_nano(AHEAD_S))
        finally:
            self._is_extending = False
        self._look()

    async def _extend(self, needed: int) -> None:
        """Hold so much, and `REALTIME_HOLD_S` of an answer more, where there is as much."""
        if not self._rolling.held or self.refused is not None:
            return
        try:
            await self._rolling.cover(needed, needed + self.reckoning.step_nano(numbers.REALTIME_HOLD_S))
        except LedgerUnavailable as error:
            self._exhausted(error)
        except KeyCapReached:
            self.refused = "key_cap_reached"
        except InsufficientBalance:
            self.refused = "insufficient_balance"

    def _is_covered(self, seconds: int, asking: Answer | None) -> bool:
        return self.reckoning.needs_nano(seconds, asking, HEARD_S) <= self._rolling.held

    async def _cover(self, seconds: int, asking: Answer | None) -> None:
        await self._extend(self.reckoning.needs_nano(seconds, asking, HEARD_S))
        if self._rolling.held and not self._is_covered(seconds, asking):
            self._stop()

    async def _give_back(self) -> None:
        if self.reckoning.answers or self.reckoning.asked or not self._rolling.held:
            return
        least = self.reckoning.bounds().least
        try:
            await self._rolling.renew(Bounds(least, least))
        except KomilionError as error:
            self._exhausted(error)

    def _settle(self, spent: Spent, response_id: str | None = None) -> None:
        self._unsettled += 1
        self._behind.add(self._turn(spent, response_id))

    async def _turn(self, spent: Spent, response_id: str | None) -> None:
        self._unsettled -= 1
        try:
            if self._unsettled or (self.is_closing and (self.reckoning.answers or self.reckoning.asked)):
                await self._tab.settle(self._tab.new_call(), spent)  # what is held is for the others too
            else:
                await self._rolling.turn(spent, None if self.is_closing else self.reckoning.bounds())
                self.refused = None
        except KomilionError as error:
            self._exhausted(error)
        await self._tab.report(response_id)
        self._look()

    def _stop(self) -> None:
        self._exhausted(uncovered(self.refused))

    def _renew_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._renewal = loop.call_later(numbers.HOLD_LIFETIME_S * RENEW_AT, lambda: self._behind.add(self._renew()))

    async def _renew(self) -> None:
        """A hold that nothing was used of must not expire while somebody thinks about what to say."""
        self._renew_later()
        if self.reckoning.answers or self.reckoning.asked or not self._rolling.held:
            return
        try:
            await self._rolling.renew(self.reckoning.bounds())
        except KomilionError as error:
            self._exhausted(error)


def _only(names: Sequence[str], usage: Usage) -> Usage:
    return Usage(**{name: getattr(usage, name) for name in names})
