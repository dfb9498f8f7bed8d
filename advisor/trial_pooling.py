"""What all organizations that try a pair of models show of it, put together so that none decides it for others. Pure.

Who calls decides what is cut, fails or takes long, may leave where he sees the older model answer, and votes as he
likes. So of others only those that have paid are heard. None of them says more than twenty to one for the newer model
or against it, however many its calls and votes are, and the one that says most against it is left out: at least three
must see what ends the trial of a fourth.
"""

from collections.abc import Collection, Mapping, Sequence
from heapq import nlargest
from math import fsum, log

from advisor.canary import NOTHING, Evidence, Pair, evidence_of, mixed
from advisor.pooling import CALLS_OF_ONE
from advisor.rules import Rules

MOST_SAID = log(20)  # of each likelihood ratio, by one organization to others


class _Sum:
    """One figure of several organizations."""

    def __init__(self, of_each: Mapping[int, float]) -> None:
        self._of_each = of_each
        self._whole = fsum(of_each.values())
        self._largest = nlargest(2, of_each, key=of_each.__getitem__)

    def without(self, organization_id: int | None) -> float:
        """Of the others, but for the largest where that adds anything; of all but that one for None."""
        own = 0.0 if organization_id is None else self._of_each.get(organization_id, 0.0)
        largest = next((self._of_each[key] for key in self._largest if key != organization_id), 0.0)
        return self._whole - own - max(largest, 0.0)


class Pool:
    """All organizations that try one pair of models, by what they may say to each other.

    `shown` is by organization, one pair for each share that it tried; `paying` are those that count.
    """

    def __init__(self, shown: Mapping[int, Sequence[Pair]], paying: Collection[int], rules: Rules) -> None:
        heard = {key: pairs for key, pairs in shown.items() if key in paying}
        evidence = {key: evidence_of(pairs, rules) for key, pairs in heard.items()}
        self._rules = rules
        self._evidence = {
            signal: [
                _Sum({key: _bounded(of[signal][number]) for key, of in evidence.items()})
                for number in range(len(NOTHING[signal]))
            ]
            for signal in NOTHING
        }
        shares = {pair.share_basis_points for pairs in heard.values() for pair in pairs}
        self._calls = {share: _Sum({key: _calls(pairs, share) for key, pairs in heard.items()}) for share in shares}

    def evidence_without(self, organization_id: int | None) -> Evidence:
        """What the others show; what all do for None."""
        return {signal: [each.without(organization_id) for each in sums] for signal, sums in self._evidence.items()}

    def calls_without(self, organization_id: int, share: int) -> int:
        """How many calls of the newer model the others had at this share, as far as these count."""
        return int(self._calls[share].without(organization_id)) if share in self._calls else 0

    def worse_in(self) -> str:
        """The signal by which the newer model is worse as all show together, so that nobody else has to try it."""
        least = log(1 / self._rules.false_alarm)
        return next((signal for signal, shown in self.evidence_without(None).items() if mixed(shown) >= least), "")


def _bounded(said: float) -> float:
    return min(max(said, -MOST_SAID), MOST_SAID)


def _calls(pairs: Sequence[Pair], share: int) -> int:
    return min(sum(pair.new.calls for pair in pairs if pair.share_basis_points == share), CALLS_OF_ONE)
