"""Evaluation cases: an organization's prompts are put to both models of an upgrade, and their answers checked.

The calls go through the gateway like any other, on behalf of a member who may call models, and the organization's
wallet pays. Each has an Idempotency-Key of its case and of what is sent, so for a day nobody pays twice for the same
answer: not after a worker died, nor where the pin was changed and set again.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson
from django.db import connection

from accounts.access import Caller, Right, access_session_token, access_viewer, ticket_of
from accounts.models import Membership
from advisor.checks import Checked, check
from advisor.models import EvaluationCase, Upgrade
from komilion.common.errors import (
    ContentFiltered,
    ContextLengthExceeded,
    KomilionError,
    PayloadTooLarge,
    Unauthenticated,
)
from routing.gateway.authenticate import scopes_of
from routing.gateway.exchange import Vouch
from routing.gateway.inside import ChatRefused, Finished, TextDelta, ask
from routing.gateway.services import Services
from routing.gateway.types import Session

CASES_MOST = 20  # of one task type that are put to models, the oldest
ANSWER_TOKENS_MOST = 2_048
# Of the prompt and the model, whenever it is asked: such a model does not pass.
NOT_FOR_IT = frozenset({ContextLengthExceeded.reason, ContentFiltered.reason, PayloadTooLarge.reason})


@dataclass(frozen=True, slots=True)
class Asking:
    """What all cases of one run share."""

    services: Services
    checking: asyncio.Lock  # one check after the other: each may take a processor, and memory


@dataclass(frozen=True, slots=True)
class Answered:
    """What one model made of one case."""

    checked: Checked
    charge_nano: int


def cases_of(upgrade: Upgrade) -> Sequence[EvaluationCase]:
    """Those that judge it."""
    rows = EvaluationCase.objects.filter(organization_id=upgrade.organization_id, task=upgrade.task)
    return list(rows.order_by("pk")[:CASES_MOST])


async def judge_case(upgrade: Upgrade, case: EvaluationCase, asking: Asking) -> Mapping[str, Any]:
    """Put a case to both models at once; a row of the table in the upgrade's report, without a word of the answers.

    Raises `ChatRefused` where one of them cannot be asked now.
    """
    models = upgrade.old_model, upgrade.new_model
    payer = _payer(upgrade.organization_id)
    # Both are awaited, come what may: what the one answered is kept, and paid for, also where the other one fails.
    both = await asyncio.gather(*(_answer(case, model, payer, asking) for model in models), return_exceptions=True)
    old, new = (_or_raise(answered) for answered in both)
    return {
        "id": case.pk,
        "case": case.name,
        "old": old.checked.passed,
        "new": new.checked.passed,
        "why": new.checked.why or old.checked.why,
        "charge_nano": old.charge_nano + new.charge_nano,
    }


def is_worse(row: Mapping[str, Any]) -> bool:
    """Whether the newer model fails what the older one passes."""
    return bool(row["old"]) and not row["new"]


async def in_thread[**P, R](do: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """In a thread of the loop's pool: its connection is closed at once, as nothing would ever close it later."""

    def do_and_close() -> R:
        try:
            return do(*args, **kwargs)
        finally:
            connection.close()

    return await asyncio.to_thread(do_and_close)


def _or_raise(answered: Answered | BaseException) -> Answered:
    if isinstance(answered, BaseException):
        raise answered
    return answered


async def _answer(case: EvaluationCase, model: str, payer: Vouch, asking: Asking) -> Answered:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": case.prompt}],
        "temperature": 0,
        "max_tokens": ANSWER_TOKENS_MOST,
    }
    text, charge = list[str](), 0
    key = f"case-{case.pk}-{sha256(orjson.dumps(body)).hexdigest()}"
    try:
        async for event in ask(payer, body, asking.services, idempotency_key=key):
            if isinstance(event, TextDelta):
                text.append(event.text)
            elif isinstance(event, Finished):
                charge = int(event.bill.get("cost_nano_usd") or 0)
    except KomilionError as error:
        raise ChatRefused(error.status, error.reason, error.message) from error
    except ChatRefused as refused:
        if refused.reason not in NOT_FOR_IT:
            raise
        return Answered(Checked(passed=False, why=f"{model} does not take the prompt: {refused.reason}"), 0)
    async with asking.checking:
        checked = await asyncio.to_thread(check, case.check_kind, case.expected, "".join(text))
    return Answered(checked, charge)


def _payer(organization_id: int) -> Vouch:
    async def renew() -> Session:
        caller = await in_thread(_caller, organization_id)
        return Session(caller, scopes_of(caller))

    return renew


def _caller(organization_id: int) -> Caller:
    """A member who may call models, the oldest. Raises `Unauthenticated` where there is none."""
    members = Membership.objects.filter(organization_id=organization_id, user__is_active=True).order_by("pk")
    for member in members:
        viewer = access_viewer(member.user_id, organization_id)
        if viewer is None or viewer.membership_id != member.pk or not viewer.may(Right.KEYS):
            continue
        caller = access_session_token(ticket_of(viewer))
        if caller is not None:
            return caller
    raise Unauthenticated("Nobody in the organization may call models.")
