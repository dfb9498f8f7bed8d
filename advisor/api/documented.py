"""What the OpenAPI document says of the advisor."""

from typing import Any

from drf_spectacular.utils import OpenApiExample

from accounts.api.documented import (
    COUNT,
    DOLLARS,
    FLAG,
    MOMENT,
    READ,
    TEXT,
    WRITE,
    WRITE_ONE,
    JsonSchema,
    answer,
    errors,
    nullable,
    ref,
    thing,
)
from advisor.advice import Kind
from advisor.api.effects import EFFECT
from advisor.api.effects import EXAMPLE as EFFECT_EXAMPLE
from advisor.models import Advice, Upgrade
from billing.api.documented import operation
from routing.api.documented import PIN_EXAMPLE, PIN_REQUEST

OF_ALL = "null for a key that reads its own usage alone"
DAY: JsonSchema = {"type": "string", "format": "date"}
RECOMMENDATION: JsonSchema = thing(
    {
        "object": {"type": "string", "const": "recommendation"},
        "id": COUNT,
        "week": {**TEXT, "description": "the ISO week in which it was made, such as 2026-W47"},
        "kind": {"type": "string", "enum": [kind.value for kind in Kind]},
        "subject": {**TEXT, "description": "the model in use, or the id of a key"},
        "task_type": nullable(TEXT),
        "model": {**nullable(TEXT), "description": "what is recommended; null where no other model is"},
        "title": TEXT,
        "reason": TEXT,
        "saving_usd_per_month": {
            **nullable(thing({"low": DOLLARS, "mid": DOLLARS, "high": DOLLARS})),
            "description": f"the expected saving of 30 days, and the ends of its central 80 %; {OF_ALL}",
        },
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "evidence": {
            "type": ["object", "null"],
            "description": "the figures that it rests on, by name, amounts in nano-USD; `moved` is the work that a pin "
            f"moves, against which its effect is measured; {OF_ALL}",
        },
        "risks": {"type": "array", "items": TEXT, "description": "what could get worse"},
        "note": {**nullable(TEXT), "description": "what else is to be done, where accepting it is not all"},
        "expires_on": {**DAY, "description": "the last day on which it can be answered"},
        "can_be_accepted": {**FLAG, "description": "whether `POST /api/advisor/accept` does it"},
        "state": {"type": "string", "enum": Advice.State.values},
        "answered_by": {**nullable(TEXT), "description": OF_ALL},
        "created_at": MOMENT,
        "effect": {
            **nullable(EFFECT),
            "description": "what it brought, in the list of those that were accepted; null to a key that may read its "
            "own usage only",
        },
    }
)
_ARM = thing(
    {
        **dict.fromkeys(("calls", "failed", "retried", "cut", "voted_down"), COUNT),
        "typical_s": {
            "type": ["number", "null"],
            "description": "how long an answer takes, the geometric mean; null without any",
        },
    }
)
_STEP = thing(
    {
        "share_basis_points": {**COUNT, "description": "of the pin's requests that the newer model was to answer"},
        "model": _ARM,
        "new_model": _ARM,
        "not_sent": {**COUNT, "description": "requests of its share that could not be sent to the newer model"},
    }
)
_CASE = thing(
    {
        "name": TEXT,
        "model_passes": FLAG,
        "new_model_passes": FLAG,
        "why": {**nullable(TEXT), "description": "what the answer lacks; null where both pass"},
        "charge_usd": {**DOLLARS, "description": "what both answers cost"},
    }
)
UPGRADE: JsonSchema = thing(
    {
        "object": {"type": "string", "const": "upgrade"},
        "id": COUNT,
        "task_type": TEXT,
        "model": {**TEXT, "description": "what is pinned, or was when it began"},
        "new_model": {**nullable(TEXT), "description": "null where the model ended and the policy chooses again"},
        "state": {
            "type": "string",
            "enum": Upgrade.State.values,
            "description": "`asked` waits for an answer, `judged` for evaluation cases, `trial` shares the requests",
        },
        "can_be_answered": {**FLAG, "description": "whether it waits for `agree` or `decline`"},
        "share_basis_points": {**COUNT, "description": "of the pin's requests that the newer model answers"},
        "reason": {**nullable(TEXT), "description": "why it ended as it did"},
        "next": {**TEXT, "description": "what comes now, or what came of it, in a sentence"},
        "progress": {**nullable(TEXT), "description": "what the last look at a trial found"},
        "steps": {
            "type": ["array", "null"],
            "items": _STEP,
            "description": "both models at each share, by your own requests; the last of a trial is the one that runs. "
            "Null, as `cases` and `progress`, for a key that reads its own usage alone",
        },
        "cases": {"type": ["array", "null"], "items": _CASE, "description": "your evaluation cases at both models"},
        "created_at": MOMENT,
        "step_at": {**MOMENT, "description": "when its state or share was last changed"},
        "ended_at": nullable(MOMENT),
    }
)
COMPONENTS = {"Recommendation": RECOMMENDATION, "Upgrade": UPGRADE}
EXAMPLE: dict[str, Any] = {
    "object": "recommendation",
    "id": 12,
    "week": "2026-W47",
    "kind": "cheaper",
    "subject": "openai/gpt-4.1",
    "task_type": "summarization",
    "model": "openai/gpt-4.1-mini",
    "title": "Let openai/gpt-4.1-mini answer summarization",
    "reason": "openai/gpt-4.1 answers it now. openai/gpt-4.1-mini is about as good at it, and costs less for the same "
    "work.",
    "saving_usd_per_month": {"low": "21.00", "mid": "34.00", "high": "47.00"},
    "confidence": 0.94,
    "evidence": {"calls": 4312, "days": 28, "charge_nano": 61_000_000_000},
    "risks": ["a few answers may be worse"],
    "note": None,
    "expires_on": "2026-11-29",
    "can_be_accepted": True,
    "state": "open",
    "answered_by": None,
    "created_at": "2026-11-16T09:00:04Z",
    "effect": None,
}
ACCEPTED_EXAMPLE = {
    **EXAMPLE,
    "id": 7,
    "week": "2026-W46",
    "state": "accepted",
    "answered_by": "alice@example.com",
    "can_be_accepted": False,
    "effect": EFFECT_EXAMPLE,
}
LIST_RECOMMENDATIONS = operation(
    "list_recommendations",
    "advisor",
    "List recommendations",
    "What the organization is advised, the newest week first and in it the most valuable first. A key sees none of a "
    "model that it may not call, and of keys only where it manages them; where it does not, it reads no figures of the "
    "whole organization.",
    {
        200: answer(
            thing({"data": {"type": "array", "items": ref("Recommendation")}}),
            "The recommendations.",
            {"data": [EXAMPLE, ACCEPTED_EXAMPLE]},
        ),
        **errors(*READ),
    },
)
ACCEPT = operation(
    "accept_recommendation",
    "advisor",
    "Accept a recommendation",
    "Pins the model to the task type, and notes that it was a recommendation. Where just that is recommended, the "
    "recommendation is accepted; what was never recommended is pinned all the same.",
    {200: answer(ref("Pin"), "The pin.", {**PIN_EXAMPLE, "source": "advisor"}), **errors(*WRITE)},
) | {"examples": PIN_REQUEST}
DISMISS = operation(
    "dismiss_recommendation",
    "advisor",
    "Dismiss a recommendation",
    "By its `id`, or by the task type and model that it recommends. It is not made again for eight weeks, and then "
    "only if it would save twice as much.",
    {
        200: answer(
            ref("Recommendation"),
            "The recommendation.",
            {**EXAMPLE, "state": "dismissed", "answered_by": "alice@example.com", "can_be_accepted": False},
        ),
        **errors(*WRITE_ONE),
    },
) | {"examples": [OpenApiExample("request", value={"id": 12}, request_only=True)]}
_FIGURES = {"failed": 0, "retried": 1, "cut": 0, "voted_down": 0}
UPGRADE_EXAMPLE: dict[str, Any] = {
    "object": "upgrade",
    "id": 7,
    "task_type": "summarization",
    "model": "openai/gpt-4.1",
    "new_model": "openai/gpt-5",
    "state": "trial",
    "can_be_answered": False,
    "share_basis_points": 500,
    "reason": None,
    "next": "openai/gpt-5 answers 5 % of the requests. While nothing gets worse, 50 % follow; else openai/gpt-4.1 has "
    "all of them again at once.",
    "progress": "120 of 200 calls, 3 of 6 hours",
    "steps": [
        {
            "share_basis_points": 500,
            "model": {"calls": 2_280, **_FIGURES, "typical_s": 1.52},
            "new_model": {"calls": 120, **_FIGURES, "typical_s": 1.31},
            "not_sent": 0,
        }
    ],
    "cases": [
        {
            "name": "names the amount",
            "model_passes": True,
            "new_model_passes": True,
            "why": None,
            "charge_usd": "0.0031",
        }
    ],
    "created_at": "2026-11-16T09:05:00Z",
    "step_at": "2026-11-16T09:10:00Z",
    "ended_at": None,
}
LIST_UPGRADES = operation(
    "list_upgrades",
    "advisor",
    "List upgrades of pins",
    "Pins on their way to a newer model: those under way, and those that ended in the last 60 days, the last first. A "
    "key sees none of a model that it may not call.",
    {
        200: answer(
            thing({"data": {"type": "array", "items": ref("Upgrade")}}), "The upgrades.", {"data": [UPGRADE_EXAMPLE]}
        ),
        **errors(*READ),
    },
)
AGREE = operation(
    "agree_to_upgrade",
    "advisor",
    "Agree to an upgrade",
    "Of a pin whose `upgrades` are `ask`. The newer model first answers the evaluation cases of the task type, if "
    "there are any, at your expense; then a share of the requests, and more only while nothing gets worse. One that "
    "waits for no answer any more is 409.",
    {
        200: answer(ref("Upgrade"), "The upgrade.", {**UPGRADE_EXAMPLE, "progress": None, "steps": [], "cases": []}),
        **errors(*WRITE_ONE),
    },
)
DECLINE = operation(
    "decline_upgrade",
    "advisor",
    "Decline an upgrade",
    "The pin stays as it is, and nobody is asked about the same newer model again.",
    {
        200: answer(
            ref("Upgrade"),
            "The upgrade.",
            {
                **UPGRADE_EXAMPLE,
                "state": "refused",
                "share_basis_points": 0,
                "reason": "a member declined it",
                "next": "openai/gpt-4.1 stayed.",
                "progress": None,
                "steps": [],
                "cases": [],
                "ended_at": "2026-11-16T09:10:00Z",
            },
        ),
        **errors(*WRITE_ONE),
    },
)
