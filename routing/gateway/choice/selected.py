"""A choice on its way through a call: what its plan keeps of it, and what answer, usage row and bill say of it.

A receipt that cannot be written costs nobody an answer or its settlement: it is left out, and the log says so.
"""

import logging
from typing import Any

from komilion.common.usage import Usage
from routing.gateway.choice.brain import facts_of
from routing.selection.choose import Choice
from routing.selection.explain import explain
from routing.selection.receipt import pack
from routing.selection.receipts import CHOICE
from routing.selection.savings import savings
from routing.selection.workflow import WORKED

log = logging.getLogger(__name__)


class Selected:
    """Why this plan asks these models. `choice` is None where nothing but the prices could be looked at."""

    __slots__ = ("_packed", "choice", "policy", "session", "task", "wants_receipt")

    def __init__(self, policy: str, choice: Choice | None, session: bytes, *, wants_receipt: bool) -> None:
        self.policy = policy
        self.choice = choice
        self.session = session
        reading = None if choice is None else choice.inputs.reading
        self.task = None if reading is None else reading.task  # None where the request could not be read
        self.wants_receipt = wants_receipt
        self._packed: dict[str, Any] | None = None

    @property
    def rule(self) -> str:
        """The stable word for why."""
        return "selection_degraded" if self.choice is None else self.choice.decision.rule

    def savings(self, usage: Usage, charged: int) -> int | None:
        """Nano-USD against the best model of the task; None where it is not known."""
        best = None if self.choice is None else self.choice.best_offer
        return None if best is None else savings(best.price, usage, charged)

    def detail(self) -> dict[str, Any]:
        """For the usage row; the policy at least, by which a call that named no model is known."""
        packed = self._pack()
        known: dict[str, Any] = {"policy": self.policy} if packed is None else {CHOICE: packed}
        reading = None if self.choice is None else self.choice.inputs.reading
        return known if reading is None else {**known, **facts_of(reading)}

    def notes(self, answered: str) -> dict[str, Any]:
        """For `x_komilion` of an answer by this model."""
        notes: dict[str, Any] = {
            "policy": self.policy,
            "task_type": self.task,
            "rule": self.rule,
            "workflow": WORKED,
        }
        wanted = None if self.choice is None else self.choice.inputs.workflow
        if wanted is not None and wanted.workflow != WORKED:
            notes["workflow_wanted"] = wanted.workflow
        if self.wants_receipt:
            notes["receipt"] = self.receipt(answered)
        return notes

    def receipt(self, answered: str) -> dict[str, Any] | None:
        """The choice for people, and the model that answered; None where there is nothing to tell."""
        packed = self._pack()
        if self.choice is None or packed is None:
            return None
        try:
            return explain(packed, self.choice.market.facts, answered)
        except Exception:
            log.exception("no receipt")
            return None

    def _pack(self) -> dict[str, Any] | None:
        if self._packed is None and self.choice is not None:
            try:
                self._packed = pack(self.choice)
            except Exception:
                log.exception("no receipt")
        return self._packed
