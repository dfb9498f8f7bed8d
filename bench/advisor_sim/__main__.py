"""`python -m bench.advisor_sim [--seed N ...] [--json]`: a quarter for each seed, and what advice was worth in it.

Exits with 1 where a mark is missed by all seeds together.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from advisor.advice import Kind
from bench.advisor_sim import quarter, trials
from bench.advisor_sim.organizations import NANO
from bench.advisor_sim.quarter import Quarter
from bench.advisor_sim.trials import A_DAY_SHOWS, BY_VOTES, DAY_HOURS, Ended

SEEDS = (1, 2, 3, 4, 5, 6)
WITH_SAVING = frozenset({Kind.CHEAPER, Kind.BETTER, Kind.NEW_MODEL, Kind.CACHING, Kind.SHORTER})


@dataclass(frozen=True, slots=True)
class Mark:
    """A figure and what it must be."""

    name: str
    value: float
    least: float
    most: float
    of: int  # how many it is a share of, or was looked for in

    @property
    def is_met(self) -> bool:
        """Whether it is."""
        return self.least <= self.value <= self.most


def marks(quarters: Sequence[Quarter], ended: Sequence[Ended]) -> list[Mark]:
    """Over all seeds together."""
    judged = [one for found in quarters for one in found.judged]
    to_find = sum(len(found.to_find) for found in quarters)
    saving = [one for one in judged if one.said.kind in WITH_SAVING and one.saved_nano is not None]
    inside = sum(one.said.saving.low_nano <= (one.saved_nano or 0) <= one.said.saving.high_nano for one in saving)
    bad = [one for one in ended if one.fault not in {"", BY_VOTES}]
    shown = [one for one in bad if one.hourly >= A_DAY_SHOWS]
    small = [one for one in bad if one.hourly < A_DAY_SHOWS]
    good = [one for one in ended if not one.fault]
    voted = [one for one in ended if one.fault == BY_VOTES]
    late, fewer = sum(map(_is_late, shown)), _share(sum(map(_is_late, small)), len(small))
    alarms = sum(one.rolled_back_after_h is not None for one in good)
    pins = sum(found.moved_pins for found in quarters)
    return [
        Mark("advice that was right", _share(sum(one.is_right for one in judged), len(judged)), 0.9, 1, len(judged)),
        Mark("savings above $20 found", _share(sum(len(f.found) for f in quarters), to_find), 0.8, 1, to_find),
        Mark("saving inside its interval", _share(inside, len(saving)), 0.8, 0.97, len(saving)),
        Mark("bad upgrades that last over a day, of those with 75 calls an hour", late, 0, 0, len(shown)),
        Mark("bad upgrades that last over a day, of those with fewer", fewer, 0, 1, len(small)),
        Mark("bad upgrades that got all calls", sum(map(_is_through, bad)), 0, 0, len(bad)),
        Mark("those that only votes speak against", _share(sum(map(_is_through, voted)), len(voted)), 0, 1, len(voted)),
        Mark("good upgrades that were stopped", _share(alarms, len(good)), 0, 0.05, len(good)),
        Mark("pins moved after their model's end", sum(found.late_pins for found in quarters), 0, 0, pins),
    ]


def _is_late(one: Ended) -> bool:
    return one.rolled_back_after_h is None or one.rolled_back_after_h > DAY_HOURS


def _is_through(one: Ended) -> bool:
    return one.moved_after_h is not None


def _share(part: float, whole: int) -> float:
    return part / whole if whole else 1.0


def kinds(quarters: Sequence[Quarter]) -> dict[str, dict[str, float]]:
    """By kind: how often said, how often right, what it promised and what it brought, dollars a month."""
    said, right = Counter[str](), Counter[str]()
    promised, brought = Counter[str](), Counter[str]()
    for one in (one for found in quarters for one in found.judged):
        kind = one.said.kind.value
        said[kind] += 1
        right[kind] += one.is_right
        promised[kind] += one.said.saving.mid_nano
        brought[kind] += round(one.saved_nano or 0)
    return {
        kind: {
            "said": count,
            "right": right[kind] / count,
            "promised_usd": round(promised[kind] / NANO),
            "brought_usd": round(brought[kind] / NANO),
        }
        for kind, count in said.most_common()
    }


def _simulated(seed: int, organizations: int) -> tuple[Quarter, list[Ended]]:
    """One seed, in a process of its own."""
    found = quarter.run(seed, organizations)
    return found, trials.run(seed, found.pools)


def report(seeds: Sequence[int], organizations: int) -> dict[str, Any]:
    """Everything that is printed."""
    began = time.monotonic()
    with ProcessPoolExecutor() as processes:
        found = list(processes.map(_simulated, seeds, [organizations] * len(seeds)))
    quarters = [of for of, _ in found]
    ended = [one for _, of in found for one in of]
    return {
        "seeds": list(seeds),
        "organizations": organizations,
        "marks": marks(quarters, ended),
        "kinds": kinds(quarters),
        "letters": sum(found.letters for found in quarters),
        "silent": sum(found.silent for found in quarters),
        "seconds": round(time.monotonic() - began),
    }


def render(found: dict[str, Any]) -> str:
    """Two tables in Markdown."""
    lines = ["| what | figure | mark | of |", "|---|---|---|---|"]
    for mark in found["marks"]:
        bound = f"{mark.least:g} to {mark.most:g}" if mark.most != mark.least else f"{mark.most:g}"
        missed = "" if mark.is_met else " MISSED"
        lines.append(f"| {mark.name} | {mark.value:.3g}{missed} | {bound} | {mark.of:,} |")
    lines += ["", "| kind | said | right | promised, $ a month | brought |", "|---|---|---|---|---|"]
    for kind, of in found["kinds"].items():
        lines.append(f"| {kind} | {of['said']} | {of['right']:.3f} | {of['promised_usd']:,} | {of['brought_usd']:,} |")
    seeds = ", ".join(map(str, found["seeds"]))
    lines += ["", f"Seeds {seeds}: {found['letters']} letters, {found['silent']} silences, {found['seconds']} s."]
    return "\n".join(lines)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.advisor_sim", description=__doc__)
    parser.add_argument("--seed", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--organizations", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = report(options.seed, options.organizations)
    if options.json:
        values = [{"name": m.name, "value": m.value, "is_met": m.is_met, "of": m.of} for m in found["marks"]]
        print(json.dumps(found | {"marks": values}))
    else:
        print(render(found))
    return 0 if all(mark.is_met for mark in found["marks"]) else 1


if __name__ == "__main__":
    sys.exit(main())
