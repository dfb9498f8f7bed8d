"""How often a member hears from the advisor."""

from advisor.models import MailWishes


def do_set_wishes(membership_id: int, often: MailWishes.Often, *, wants_alerts: bool | None = None) -> None:
    """From the next letter on, those that wait to be sent included. None leaves alerts as they are."""
    values: dict[str, object] = {"often": often}
    if wants_alerts is not None:
        values["wants_alerts"] = wants_alerts
    MailWishes.objects.update_or_create(membership_id=membership_id, defaults=values)


def do_stop_alerts(membership_id: int) -> None:
    """Send her none from now on, those that wait to be sent included; digests stay as they are."""
    MailWishes.objects.update_or_create(membership_id=membership_id, defaults={"wants_alerts": False})
