"""Jobs of the advisor; the schedule stands in komilion.celery."""

import logging
from datetime import timedelta

from celery import shared_task
from django.conf import settings

from advisor.actions.alerts import do_alert
from advisor.actions.digests import do_make_digest
from advisor.actions.effects import do_measure_effects
from advisor.actions.evidence import do_build_due
from advisor.actions.forget import do_forget_old
from advisor.actions.judgements import do_judge_upgrades
from advisor.actions.letters import do_send_letters
from advisor.actions.retirement import do_move_ending_pins
from advisor.actions.samples import do_forget_samples
from advisor.actions.trials import do_step_trials
from advisor.actions.upgrades import do_look_for_upgrades
from advisor.findings import find
from advisor.queries import has_digest, is_ready, organizations_without
from advisor.watch import alarms, ill_of
from advisor.weeks import week_due
from komilion.common.clock import utc_now

log = logging.getLogger(__name__)

FAN_OUT_EVERY_S = 900
CLOCKS_APART = timedelta(minutes=1)  # beat's machine may be ahead of the worker's: what it sends at nine is due


@shared_task  # type: ignore[untyped-decorator]
def build_evidence() -> None:
    """Sum up the days that are over."""
    built = do_build_due(utc_now())
    if built:
        log.info("evidence built", extra={"days": [str(day) for day in built]})


@shared_task  # type: ignore[untyped-decorator]
def measure_effects() -> None:
    """Note what accepted advice brought in the weeks that are over."""
    done = do_measure_effects(utc_now())
    if done:
        log.info("effects measured", extra={"rows": done})


@shared_task  # type: ignore[untyped-decorator]
def forget_samples() -> None:
    """Remove prompts that were kept as long as they may be."""
    do_forget_samples(utc_now())


@shared_task  # type: ignore[untyped-decorator]
def forget_old() -> None:
    """Remove digests and alerts that are older than the evidence, and used links that are too old to work."""
    removed = do_forget_old(utc_now())
    if removed:
        log.info("old rows forgotten", extra={"rows": removed})


@shared_task  # type: ignore[untyped-decorator]
def fan_out() -> None:
    """Have the digest that is due made for each organization that lacks it.

    On Monday at 09:00 that is each of them. Later it is those that a crash left out, or all where nothing ran then; and
    all that wait for evidence, which is not there before it is whole.
    """
    week = week_due(utc_now() + CLOCKS_APART)
    if week is None:
        return
    if not is_ready(week):
        log.warning("digests wait for evidence", extra={"week": week})
        return
    for organization_id in organizations_without(week):
        # What is still in the queue when the next round comes is asked for anew by that one.
        make_digest.apply_async((organization_id, week), expires=FAN_OUT_EVERY_S)


@shared_task  # type: ignore[untyped-decorator]
def make_digest(organization_id: int, week: str) -> None:
    """Look at one organization, and keep what was found; does nothing where that was done."""
    if has_digest(organization_id, week):
        return
    found = find(organization_id, week)
    do_make_digest(organization_id, week, found.recommendations, found.figures, utc_now())


@shared_task  # type: ignore[untyped-decorator]
def watch() -> None:
    """Have alerts made for each organization that uses a model which is in trouble now."""
    found = alarms(utc_now())
    ill = ill_of(found)
    for organization_id in dict.fromkeys(key for key, _ in found):
        alert.apply_async((organization_id, ill), expires=FAN_OUT_EVERY_S)


@shared_task  # type: ignore[untyped-decorator]
def alert(organization_id: int, ill: list[str]) -> None:
    """Look at one organization again, and tell it what it was not told of late; `ill` is not recommended to it."""
    now = utc_now()
    made = do_alert(organization_id, [found for _, found in alarms(now, organization_id)], ill, now)
    for each in made:
        log.info("alert", extra={"organization": organization_id, "kind": each.kind, "model": each.model})


@shared_task  # type: ignore[untyped-decorator]
def send_letters() -> None:
    """Send some of what waits: as many as go out until the next run begins, as digests and evidence wait meanwhile."""
    done = do_send_letters(within_s=settings.ADVISOR_SEND_EVERY_S)
    if done.trouble:
        log.warning("letters wait for the mail server", extra={"error": done.trouble})


@shared_task  # type: ignore[untyped-decorator]
def look_after_pins() -> None:
    """Move pins whose model ends, begin upgrades, and look at those that are on trial."""
    now = utc_now()
    done = {
        "moved": do_move_ending_pins(now),
        "stepped": do_step_trials(now),
        "begun": do_look_for_upgrades(now),
    }
    if any(done.values()):
        log.info("pins looked after", extra=done)


@shared_task  # type: ignore[untyped-decorator]
def judge_upgrades() -> None:
    """Put evaluation cases to the models of upgrades that wait for that, for about a minute."""
    judged = do_judge_upgrades(utc_now())
    if judged:
        log.info("upgrades judged", extra={"upgrades": judged})
