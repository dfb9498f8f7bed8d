"""Keys that nobody uses, and caps that will stop calls before their period ends."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from advisor.advice import Kind, Recommendation
from advisor.brief import Brief
from advisor.evidence import KeyFact


def advise(brief: Brief) -> Iterator[Recommendation]:
    """The key that was unused longest, as one letter names one, and every cap that is about to be reached."""
    unused = [key for key in brief.evidence.keys if _is_unused(brief, key)]
    if unused:
        yield _longest_unused(brief, unused)
    for key in sorted(brief.evidence.keys, key=lambda key: key.key_id):
        yield from _cap_soon(brief, key)


def _longest_unused(brief: Brief, unused: Sequence[KeyFact]) -> Recommendation:
    today = brief.landscape.today
    key = min(unused, key=lambda key: (key.last_used_on or key.made_on, key.key_id))
    return Recommendation(
        kind=Kind.UNUSED_KEY,
        subject=str(key.key_id),
        confidence=1.0,
        evidence={
            "name": key.name,
            "days": (today - (key.last_used_on or key.made_on)).days,
            "was_used": int(key.last_used_on is not None),
            "keys": len(unused),
        },
        risks=("key_in_reserve",),
        expires_on=today + timedelta(days=brief.rules.life_days),
    )


def _is_unused(brief: Brief, key: KeyFact) -> bool:
    before = brief.landscape.today - timedelta(days=brief.rules.unused_days)
    return key.made_on <= before and (key.last_used_on is None or key.last_used_on <= before)


def _cap_soon(brief: Brief, key: KeyFact) -> Iterator[Recommendation]:
    """A cap that is reached already is not news, and one that is reached on the period's last day does little harm."""
    rules, today = brief.rules, brief.landscape.today
    if key.cap_nano is None or key.period_ends_on is None or key.daily_nano <= 0 or key.spent_nano >= key.cap_nano:
        return
    days_left = (key.period_ends_on - today).days
    reached_in = (key.cap_nano - key.spent_nano) / key.daily_nano
    projected = key.spent_nano + key.daily_nano * days_left
    if projected < rules.cap_over_share * key.cap_nano or reached_in > days_left - rules.cap_early_days:
        return
    yield Recommendation(
        kind=Kind.CAP_SOON,
        subject=str(key.key_id),
        confidence=rules.least_confidence,
        evidence={
            "name": key.name,
            "cap_nano": key.cap_nano,
            "spent_nano": key.spent_nano,
            "daily_nano": round(key.daily_nano),
            "reached_on": (today + timedelta(days=int(reached_in))).isoformat(),
        },
        expires_on=key.period_ends_on,
    )
