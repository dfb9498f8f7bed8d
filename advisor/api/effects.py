"""What accepted advice brought, as the API shows it and as the OpenAPI document has it."""

from typing import Any

from accounts.api.documented import COUNT, DOLLARS, MOMENT, TEXT, JsonSchema, nullable, thing
from advisor.effect import Verdict, Week
from advisor.moved import Signals
from advisor.page_queries import Outcome
from komilion.common.money import format_usd

SHARE: JsonSchema = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
SIGNALS: dict[str, JsonSchema] = {
    "failed_share": {**SHARE, "description": "of the calls, those too that another model answered in the end"},
    "retried_share": {**SHARE, "description": "of the calls, those that took more than one attempt"},
    "votes": COUNT,
    "mean_score": {**SHARE, "description": "of the votes"},
    "duration_ms": {"type": ["integer", "null"], "description": "that an answer took, the geometric mean"},
}
WEEK: JsonSchema = thing(
    {
        "week": {**TEXT, "description": "a whole ISO week through which the pin held, such as 2026-W47"},
        "requests": {**COUNT, "description": "calls that the pin sent to the model"},
        "cost_usd": DOLLARS,
        "without_usd": {
            **nullable(DOLLARS),
            "description": "what the models that answered before would have cost; null where that is not known",
        },
        "saved_usd": nullable(DOLLARS),
        "promised_usd": {
            **nullable(thing({"low": DOLLARS, "high": DOLLARS})),
            "description": "the ends of what was promised for as much work as this",
        },
        **SIGNALS,
    }
)
EFFECT: JsonSchema = thing(
    {
        "verdict": {"type": "string", "enum": [verdict.value for verdict in Verdict]},
        "pinned_until": {
            **nullable(MOMENT),
            "description": "since when another model is pinned, or none, or newer advice counts; null while it holds",
        },
        "saved_usd_per_month": {**nullable(DOLLARS), "description": "over the measured weeks"},
        "before": {**nullable(thing(SIGNALS)), "description": "of the calls that the advice rests on"},
        "weeks": {"type": "array", "items": WEEK},
    }
)
EXAMPLE_BEFORE: dict[str, Any] = {
    "failed_share": 0.004,
    "retried_share": 0.011,
    "votes": 31,
    "mean_score": 0.84,
    "duration_ms": 3_200,
}
EXAMPLE: dict[str, Any] = {
    "verdict": "kept",
    "pinned_until": None,
    "saved_usd_per_month": "31.50",
    "before": EXAMPLE_BEFORE,
    "weeks": [
        {
            "week": "2026-W48",
            "requests": 1_040,
            "cost_usd": "7.10",
            "without_usd": "14.45",
            "saved_usd": "7.35",
            "promised_usd": {"low": "4.90", "high": "10.90"},
            **EXAMPLE_BEFORE,
            "duration_ms": 2_100,
        }
    ],
}


def effect_json(outcome: Outcome) -> dict[str, Any]:
    """What one accepted advice brought, week by week."""
    until = outcome.advice.pinned_until
    return {
        "verdict": outcome.verdict.value,
        "pinned_until": None if until is None else until.isoformat().replace("+00:00", "Z"),
        "saved_usd_per_month": _usd(outcome.a_month_nano),
        "before": None if outcome.before is None else _signals_json(outcome.before),
        "weeks": [_week_json(week) for week in outcome.weeks],
    }


def _week_json(week: Week) -> dict[str, Any]:
    compared = week.compared
    return {
        "week": week.week,
        "requests": week.requests,
        "cost_usd": format_usd(week.actual_nano),
        "without_usd": _usd(week.without_nano),
        "saved_usd": _usd(week.saved_nano),
        "promised_usd": None
        if compared is None
        else {"low": format_usd(compared.low_nano), "high": format_usd(compared.high_nano)},
        **_signals_json(week.signals),
    }


def _signals_json(signals: Signals) -> dict[str, float | int | None]:
    return {
        "failed_share": _rounded(signals.failed_share),
        "retried_share": _rounded(signals.retried_share),
        "votes": round(signals.votes),
        "mean_score": _rounded(signals.mean_score),
        "duration_ms": signals.ms,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _usd(nano: int | None) -> str | None:
    return None if nano is None else format_usd(nano)
