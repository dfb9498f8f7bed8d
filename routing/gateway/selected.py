"""A choice on its way through a call: what its plan keeps of it, and what answer, usage row and bill say of it."""

from typing import Any

from komilion.common.usage import Usage
from routing.gateway.brain import facts_of
from routing.selection.choose import Choice
from routing.selection.explain import explain
from routing.selection.receipt import pack
from routing.selection.receipts import CHOICE
from routing.selection.savings import savings
from routing.selection.workflow import WORKED


class Selected:
    """Why this plan asks these models. `choice` is None where nothing but the prices could be looked at."""

    __slots__ = ("_packed", "choice", "policy", "session", "wants_receipt")

    def __init__(self, policy: str, choice: Choice | None, session: bytes, *, wants_receipt: bool) -> None:
        self.policy = policy
        self.choice = choice
        self.session = session
        self.wants_receipt = wants_receipt
        self._packed: dict[str, Any] | None = None

    @property
    def rule(self) -> str:
        """The stable word for why."""
        return "selection_degraded" if self.choice is None else self.choice.decision.rule

    @property
    def task(self) -> str | None:
        """The request's task type; None where it could not be read."""
        reading = None if self.choice is None else self.choice.inputs.reading
        return None if reading is None else reading.task

    def savings(self, usage: Usage, charged: int) -> int | None:
        """Nano-USD against the best model of the task; None where it is not known."""
        best = None if self.choice is None else self.choice.best_offer
        return None if best is None else savings(best.price, usage, charged)

    def detail(self) -> dict[str, Any]:
        """For the usage row."""
        if self.choice is None:
            return {}
        reading = self.choice.inputs.reading
        return {CHOICE: self._pack(self.choice), **({} if reading is None else facts_of(reading))}

    def notes(self) -> dict[str, Any]:
        """For `x_komilion`."""
        notes = {"policy": self.policy, "task_type": self.task, "rule": self.rule, "workflow": WORKED}
        choice = self.choice
        if choice is None:
            return notes
        wanted = choice.inputs.workflow
        if wanted is not None and wanted.workflow != WORKED:
            notes["workflow_wanted"] = wanted.workflow
        return notes | ({"receipt": explain(self._pack(choice), choice.market.facts)} if self.wants_receipt else {})

    def _pack(self, choice: Choice) -> dict[str, Any]:
        if self._packed is None:
            self._packed = pack(choice)
        return self._packed
