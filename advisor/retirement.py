"""Where a pin goes whose model ends: before the date, never into errors."""

from dataclasses import dataclass
from datetime import timedelta

from advisor.evidence import Landscape
from advisor.upgrades import Terms, too_dear

MOVE_BEFORE_DAYS = 7


@dataclass(frozen=True, slots=True)
class Move:
    """The model that takes the place; None where the policy chooses from now on. And why, in a sentence."""

    model: str | None
    reason: str


def move_of(model: str, landscape: Landscape, terms: Terms) -> Move | None:
    """Where a pin to the model should go today; None where it may stay.

    The successor takes its place where one of the organization's keys may call it, it can do all that the model could,
    costs no more than the ceiling in any bucket that the calls use, and does not end soon itself. Everything else is
    the policy's matter, which looks at every call.
    """
    known = landscape.models.get(model)
    if known is None:
        named, when = landscape.retired.get(model), "has ended"
    elif known.sunset_on is not None and known.sunset_on <= landscape.today + timedelta(days=MOVE_BEFORE_DAYS):
        named, when = known.successor, f"ends on {known.sunset_on.isoformat()}"
    else:
        return None
    if named is None or (terms.may_call is not None and named not in terms.may_call):
        return Move(None, f"{model} {when} and has no successor that your keys may call")
    successor = landscape.models.get(named)
    if successor is None or successor.sunset_on is not None or successor.deprecated_on is not None:
        return Move(None, f"{model} {when}, and {named} is not there to stay")
    if known is None:
        return Move(None, f"{model} {when}: what it cost and could do is not known any more")
    sizes = ("context_length", "max_output")
    is_smaller = any(getattr(successor, size) < getattr(known, size) for size in sizes)
    if is_smaller or not known.capabilities <= successor.capabilities:
        return Move(None, f"{model} {when}, and {named} cannot do all that it could")
    if too_dear(known, successor, terms):
        return Move(None, f"{model} {when}, and {named} costs more")
    return Move(named, f"{model} {when}; {named} is its successor")
