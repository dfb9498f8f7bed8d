"""What advice says to people: a sentence for each kind, and for each thing that could get worse.

Everything is translated where it is shown. A code that nobody has a sentence for is left out, never shown bare.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from math import exp
from typing import Any

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from advisor.advice import Kind
from advisor.models import Advice
from komilion.common.money import NANO_PER_CENT, NANO_PER_USD

TITLES: Mapping[str, Any] = {
    Kind.CHEAPER: gettext_lazy("Let %(model)s answer %(task)s"),
    Kind.BETTER: gettext_lazy("A better model for %(task)s: %(model)s"),
    Kind.NEW_MODEL: gettext_lazy("New, and fit for %(task)s: %(model)s"),
    Kind.CACHING: gettext_lazy("Have %(subject)s cache what your prompts repeat"),
    Kind.SHORTER: gettext_lazy("Ask %(subject)s for shorter answers"),
    Kind.FAILING: gettext_lazy("%(subject)s fails more than it did: %(task)s"),
    Kind.SLOW: gettext_lazy("%(subject)s answers more slowly than it did: %(task)s"),
    Kind.ENDING: gettext_lazy("%(subject)s will be shut down on %(day)s: %(task)s"),
    Kind.UNUSED_KEY: gettext_lazy("Nobody uses the key “%(key)s”"),
    Kind.CAP_SOON: gettext_lazy("The cap of the key “%(key)s” will stop calls"),
}
REASONS: Mapping[str, Any] = {
    Kind.CHEAPER: gettext_lazy(
        "%(subject)s answers it now. %(model)s is about as good at it, and costs less for the same work."
    ),
    Kind.BETTER: gettext_lazy("%(subject)s answers it now. %(model)s is better at it, and costs no more."),
    Kind.NEW_MODEL: gettext_lazy(
        "%(subject)s answers it now. %(model)s has come since, and does the same work for less or better."
    ),
    Kind.CACHING: gettext_lazy(
        "Your prompts for %(task)s repeat themselves, and the whole price is paid each time. Put "
        "what stays the same first, and mark it where the maker asks for marks: then it is read from the cache for a "
        "fraction."
    ),
    Kind.SHORTER: gettext_lazy(
        "Its answers for %(task)s are much longer than other people get for the same. Say in the prompt how long they "
        "should be."
    ),
    Kind.FAILING: gettext_lazy("More of its calls fail than chance explains. %(model)s does the same work."),
    Kind.SLOW: gettext_lazy("It takes longer than chance explains. %(model)s does the same work."),
    Kind.ENDING: gettext_lazy(
        "From that day on its calls fail, unless its maker names another model that costs no more. %(model)s can "
        "take its place."
    ),
    Kind.UNUSED_KEY: gettext_lazy("A key that is not used can only be lost. Revoke it if nobody needs it."),
    Kind.CAP_SOON: gettext_lazy(
        "At the present rate the cap is reached before its period ends, and calls are refused until the next begins."
    ),
}
WITHOUT_MODEL: Mapping[str, Any] = {
    Kind.FAILING: gettext_lazy("More of its calls fail than chance explains."),
    Kind.SLOW: gettext_lazy("It takes longer than chance explains."),
    Kind.ENDING: gettext_lazy(
        "From that day on its calls fail, unless its maker names another model that costs no more."
    ),
}
RISKS: Mapping[str, Any] = {
    "quality": gettext_lazy("a few answers may be worse"),
    "length": gettext_lazy("how long its answers are for this is not well known yet"),
    "tokenizer": gettext_lazy("it counts tokens in another way, which the saving allows for"),
    "cache": gettext_lazy("its cache begins empty"),
    "slower": gettext_lazy("it thinks before it answers, so answers may take longer"),
    "little_known": gettext_lazy("few calls here show how reliable it is"),
    "dearer": gettext_lazy("it costs a little more"),
    "cache_writes": gettext_lazy("what is cached and not read again costs a little more"),
    "less_said": gettext_lazy("answers leave something out"),
    "key_in_reserve": gettext_lazy("somebody may keep the key for a case that has not come yet"),
}


NOTES: Mapping[str, Any] = {
    "named": gettext_lazy(
        "Calls that name %(subject)s follow no pin: have them name %(model)s, or call neo-mode instead. The pin takes "
        "all other calls of %(task)s, whichever model answers them now."
    ),
}


@dataclass(frozen=True, slots=True)
class Said:
    """Advice in words."""

    title: str
    reason: str
    basis: str  # what it rests on
    risks: list[str]
    note: str  # what else is to be done; empty where a click is all
    saving: str  # a month; empty where it saves nothing worth naming
    at_least: str


def said(advice: Advice) -> Said:
    """What an advice says, in the language that is active."""
    names = {
        "subject": advice.subject,
        "task": task_words(advice.task) or _("your calls"),
        "model": advice.model,
        "key": advice.evidence.get("name", advice.subject),
        "day": _day(advice.evidence.get("ends_on")),
    }
    kind = advice.kind
    reason = WITHOUT_MODEL.get(kind, REASONS[kind]) if not advice.model else REASONS[kind]
    saves = advice.saving_mid_nano >= NANO_PER_CENT
    return Said(
        title=str(TITLES[kind]) % names,
        reason=str(reason) % names,
        basis=_basis(kind, advice.evidence),
        risks=[str(RISKS[code]) for code in advice.risks if code in RISKS],
        note=" ".join(str(NOTES[code]) % names for code in advice.risks if code in NOTES and advice.model),
        saving=roughly(advice.saving_mid_nano) if saves else "",
        at_least=roughly(max(0, advice.saving_low_nano)) if saves else "",
    )


def _basis(kind: str, evidence: Mapping[str, Any]) -> str:
    """What was seen, each figure where the advice rests on it (`advisor.recommend` names them)."""
    words = []
    calls, days = evidence.get("calls"), evidence.get("days")
    if calls and days:
        text = ngettext("%(calls)s call in %(days)s days", "%(calls)s calls in %(days)s days", calls)
        words.append(text % {"calls": f"{calls:,}", "days": days})
    elif days:
        words.append(_("not used for %(days)s days") % {"days": days})
    if charge := evidence.get("charge_nano"):
        words.append(_("%(money)s spent on them") % {"money": dollars(charge)})
    if "failed_share" in evidence and kind != Kind.SLOW:
        shares = {name: f"{100 * evidence[name]:.1f}" for name in ("failed_share", "failed_share_before")}
        words.append(_("%(failed_share)s %% failed, %(failed_share_before)s %% before") % shares)
    if "log_ms_before" in evidence and kind != Kind.FAILING:
        times = exp(evidence["log_ms"] - evidence["log_ms_before"])
        words.append(_("takes %(times)s times as long as before") % {"times": f"{times:.1f}"})
    if "usual_ratio" in evidence:
        words.append(_("%(times)s times as long as usual") % {"times": f"{evidence['usual_ratio']:.1f}"})
    if "cap_nano" in evidence:
        money = {"spent": dollars(evidence["spent_nano"]), "cap": dollars(evidence["cap_nano"])}
        words.append(_("%(spent)s of %(cap)s spent") % money)
        words.append(_("reached about %(day)s") % {"day": _day(evidence["reached_on"])})
    return ", ".join(words)


def _day(iso: str | None) -> str:
    return day_words(date.fromisoformat(iso)) if iso else ""


def task_words(task: str) -> str:
    """A task type as people write it."""
    return task.replace("-", " ")


def day_words(day: date) -> str:
    """30 November, in the language that is active."""
    return date_format(day, "j F")


def dollars(nano: int) -> str:
    """An amount for reading, to the cent below a thousand: `$1,234`, `$12.30`. Exact amounts are on the pages."""
    if nano >= 1_000 * NANO_PER_USD - NANO_PER_CENT // 2:
        return f"${round(nano / NANO_PER_USD):,}"
    if 0 < nano < NANO_PER_CENT:
        return _("under $0.01")
    cents = round(nano / NANO_PER_CENT)
    return f"${cents // 100}.{cents % 100:02}"


def roughly(nano: int) -> str:
    """An amount that is an estimate: from ten dollars on without cents."""
    return f"${round(nano / NANO_PER_USD):,}" if nano >= 10 * NANO_PER_USD else dollars(nano)
