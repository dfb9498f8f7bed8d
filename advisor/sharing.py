"""From sums to tallies: what was read of a model's calls says what the others of them were about. Whole numbers, exact.

Calls that named their model are read one in ten (docs/choice.md). The rest of a model's calls is shared out among its
task types: each sum (calls, tokens of each bucket, charge, charge of each week) in the proportion of the same sum over
those that were read, so that long questions take their part of the tokens. No call and no nano-dollar is lost or made.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from advisor.day_sql import BUCKETS
from advisor.evidence import Tally, Way
from routing.selection.words import TASKS

type Group = tuple[str, Way, str]  # model, way, policy

UNREAD = ""  # the task type of calls that nobody read
UNKNOWN = "other"  # where nobody read any of the model's calls
assert UNKNOWN in TASKS
SHARED = ("requests", *BUCKETS, "charge_nano")  # each in its own proportion
# Of these nothing may have been read: calls that failed never are.
SHARED_BY_CALLS = ("votes", "failed", "passed_on")
OF_THE_READ = ("retried", "cut", "answered", "rated")
COUNTS = (*SHARED, *SHARED_BY_CALLS, *OF_THE_READ)
FIGURES = ("log_ms", "log_ms_square", "difficulty", "score")
SUMMED = (*COUNTS, *FIGURES)


@dataclass(slots=True)
class Sums:
    """Of one group and task type; `by_week` are charges, the oldest whole week first."""

    by_week: list[int]
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    figures: dict[str, float] = field(default_factory=lambda: dict.fromkeys(FIGURES, 0.0))

    def add(self, week: int, values: Sequence[float]) -> None:
        """Take in sums in the order of `SUMMED`, of this whole week; -1 is before all of them."""
        named = dict(zip(SUMMED, values, strict=True))
        for name in self.counts:
            self.counts[name] += int(named[name])
        for name in self.figures:
            self.figures[name] += named[name]
        if week >= 0:
            self.by_week[week] += int(named["charge_nano"])

    def copy(self) -> "Sums":
        """One that changes by itself."""
        return Sums(list(self.by_week), dict(self.counts), dict(self.figures))

    @property
    def failures(self) -> int:
        """Calls that the model did not answer, whether another did or not."""
        return self.counts["failed"] + self.counts["passed_on"]


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Whole numbers that add up to `total`, in the proportion of the weights; the heaviest takes what is left over.

    Some weight is above 0 and none below.
    """
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    parts[weights.index(max(weights))] += total - sum(parts)
    return parts


def tallies_of(groups: Mapping[Group, Mapping[str, Sums]]) -> list[Tally]:
    """The tallies of one organization from its sums by group and task type; none of what was only voted on."""
    found = []
    for group, by_task in groups.items():
        wholes = _shared_out(by_task)
        found += [_tally(group, task, by_task.get(task), whole) for task, whole in wholes.items()]
    kept = (tally for tally in found if tally.requests or tally.seen)
    return sorted(kept, key=lambda tally: (tally.model, tally.task, tally.way, tally.policy))


def _shared_out(by_task: Mapping[str, Sums]) -> dict[str, Sums]:
    """What was read of each task type, with its part of what was not."""
    wholes = {task: sums.copy() for task, sums in sorted(by_task.items()) if task != UNREAD}
    unread = by_task.get(UNREAD)
    if unread is None:
        return wholes
    if not any(sums.counts["requests"] for sums in wholes.values()):
        wholes.setdefault(UNKNOWN, Sums([0] * len(unread.by_week)))
    parts = list(wholes.values())
    by_calls = [sums.counts["requests"] for sums in parts]
    if not any(by_calls):
        by_calls = [int(task == UNKNOWN) for task in wholes]
    proportions = {name: [sums.counts[name] for sums in parts] for name in SHARED}  # before anything is added

    def shares(total: int, name: str) -> Iterator[tuple[Sums, int]]:
        weights = proportions.get(name, by_calls)
        return zip(parts, apportion(total, weights if any(weights) else by_calls), strict=True)

    for name in (*SHARED, *SHARED_BY_CALLS):
        for sums, share in shares(unread.counts[name], name):
            sums.counts[name] += share
            if name == "votes" and share:
                sums.figures["score"] += unread.figures["score"] * share / unread.counts["votes"]
    for week, charge in enumerate(unread.by_week):
        for sums, share in shares(charge, "charge_nano"):
            sums.by_week[week] += share
    return wholes


def _tally(group: Group, task: str, read: Sums | None, whole: Sums) -> Tally:
    """`read` is None for what nobody read any call of."""
    model, way, policy = group
    read = read or Sums([])
    answered, rated = read.counts["answered"], read.counts["rated"]
    mean = read.figures["log_ms"] / answered if answered else 0.0
    square = read.figures["log_ms_square"] / answered if answered else 0.0
    # Of the failures that nobody read, as many as among so many calls as were read.
    unread = (whole.failures - read.failures) * read.counts["requests"] / max(1, whole.counts["requests"])
    failed = read.failures + round(unread)
    return Tally(
        task=task,
        model=model,
        way=way,
        policy=policy,
        requests=whole.counts["requests"],
        seen=read.counts["requests"] + failed - read.counts["failed"],
        tokens={bucket: whole.counts[bucket] for bucket in BUCKETS if whole.counts[bucket]},
        charge_nano=whole.counts["charge_nano"],
        by_week=tuple(whole.by_week),
        failed=failed,
        retried=read.counts["retried"],
        cut=read.counts["cut"],
        difficulty=read.figures["difficulty"] / rated if rated else 0.0,
        log_ms_mean=mean,
        log_ms_variance=max(0.0, square - mean * mean),
        votes=whole.counts["votes"],
        score=whole.figures["score"],
    )
