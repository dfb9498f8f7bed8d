"""How often a member hears from the advisor."""

from django.db import transaction

from advisor.models import MailWishes

RARER = (MailWishes.Often.WEEKLY, MailWishes.Often.MONTHLY, MailWishes.Often.OFF)  # each than the one before


def do_set_wishes(membership_id: int, often: MailWishes.Often, *, wants_alerts: bool | None = None) -> None:
    """From the next letter on, those that wait to be sent included. None leaves alerts as they are."""
    values: dict[str, object] = {"often": often}
    if wants_alerts is not None:
        values["wants_alerts"] = wants_alerts
    MailWishes.objects.update_or_create(membership_id=membership_id, defaults=values)


def do_lessen(membership_id: int, often: MailWishes.Often) -> MailWishes.Often:
    """As a link of a letter may, which others may have: never more than she wishes already. What holds from now on."""
    with transaction.atomic():
        rows = MailWishes.objects.select_for_update()
        row, is_new = rows.get_or_create(membership_id=membership_id, defaults={"often": often})
        if not is_new and RARER.index(MailWishes.Often(row.often)) < RARER.index(often):
            row.often = often
            row.save(update_fields=["often"])
    return MailWishes.Often(row.often)


def do_stop_alerts(membership_id: int) -> None:
    """Send her none from now on, those that wait to be sent included; digests stay as they are."""
    MailWishes.objects.update_or_create(membership_id=membership_id, defaults={"wants_alerts": False})
