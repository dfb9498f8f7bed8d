"""Whether prompts may be kept, taking them away again, and the cases by which an organization wants models judged."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from accounts.actions.changes import audit, lock_organization
from advisor.models import EvaluationCase, PromptSample, SampleChoice
from advisor.redact import redact
from komilion.common.errors import BadRequest, Conflict, NotFound
from komilion.common.names import hidden_characters
from routing.actions.pins import check_task

KEPT_FOR = timedelta(days=14)
CASES_MOST = 50  # of an organization: each is answered twice before an upgrade, which it pays for


@dataclass(frozen=True, slots=True)
class Member:
    """Who does it."""

    organization_id: int
    name: str  # for the audit log


@dataclass(frozen=True, slots=True)
class NewCase:
    """An evaluation case as somebody enters it."""

    task: str
    name: str
    prompt: str
    check_kind: EvaluationCase.Check
    expected: str


def do_choose_samples(member: Member, *, allowed: bool, now: datetime) -> None:
    """Let prompts be kept from now on, or no longer; then those that are kept go at once."""
    with transaction.atomic():
        lock_organization(member.organization_id)
        SampleChoice.objects.update_or_create(
            organization_id=member.organization_id,
            defaults={"is_allowed": allowed, "chosen_by": member.name[:254], "chosen_at": now},
        )
        if not allowed:
            PromptSample.objects.filter(organization_id=member.organization_id).delete()
        audit(member.organization_id, member.name, "samples.allow" if allowed else "samples.refuse", "prompts")


def do_keep_sample(organization_id: int, task: str, request_id: str, text: str, now: datetime) -> bool:
    """Keep a prompt, redacted, where that is allowed and none of this task type was kept this UTC day."""
    with transaction.atomic():
        # The row of the choice is locked: who refuses waits for this, or this finds the refusal.
        if not SampleChoice.objects.select_for_update().filter(pk=organization_id, is_allowed=True).exists():
            return False
        mine = PromptSample.objects.filter(organization_id=organization_id, task=task)
        if mine.filter(created_at__gte=now.replace(hour=0, minute=0, second=0, microsecond=0)).exists():
            return False
        PromptSample.objects.create(
            organization_id=organization_id, task=task, request_id=request_id, text=redact(text), created_at=now
        )
    return True


def do_delete_samples(member: Member) -> int:
    """Remove every prompt that is kept; how many there were."""
    with transaction.atomic():
        deleted, _ = PromptSample.objects.filter(organization_id=member.organization_id).delete()
        audit(member.organization_id, member.name, "samples.delete", "prompts")
    return deleted


def do_forget_samples(now: datetime) -> int:
    """Remove those that were kept as long as they may be; how many."""
    deleted, _ = PromptSample.objects.filter(created_at__lt=now - KEPT_FOR).delete()
    return deleted


def do_add_case(member: Member, case: NewCase, now: datetime) -> EvaluationCase:
    """Keep a case. Raises `BadRequest` for no task type, `Conflict` where the name is taken or there are too many."""
    task = check_task(case.task)
    if hidden_characters(case.name):
        raise BadRequest("A name cannot hold characters that nobody sees.", param="name")
    with transaction.atomic():
        lock_organization(member.organization_id)
        mine = EvaluationCase.objects.filter(organization_id=member.organization_id)
        if mine.count() >= CASES_MOST:
            raise Conflict(f"There are {CASES_MOST} cases already; delete one first.")
        try:
            with transaction.atomic():
                made = EvaluationCase.objects.create(
                    organization_id=member.organization_id,
                    task=task,
                    name=case.name,
                    prompt=case.prompt,
                    check_kind=case.check_kind,
                    expected=case.expected,
                    created_by=member.name[:254],
                    created_at=now,
                )
        except IntegrityError as error:
            raise Conflict(f"There is a case “{case.name}” for {task} already.", param="name") from error
        audit(member.organization_id, member.name, "case.add", case.name, task=task)
    return made


def do_delete_case(member: Member, case_id: int) -> EvaluationCase:
    """Remove a case. Raises `NotFound`."""
    with transaction.atomic():
        mine = EvaluationCase.objects.select_for_update().filter(organization_id=member.organization_id)
        case = mine.filter(pk=case_id).first()
        if case is None:
            raise NotFound("There is no such case.")
        case.delete()
        audit(member.organization_id, member.name, "case.delete", case.name, task=case.task)
    return case
