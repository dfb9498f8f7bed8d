"""Reads of what an organization decided about the choice of its models; each takes the organization of who asks."""

from collections.abc import Mapping

from routing.selection.models import Feedback, Market, Pin, RoutingPreferences


def pins_of(organization_id: int) -> list[Pin]:
    """The organization's pins, in the order of their task types."""
    return list(Pin.objects.filter(organization_id=organization_id).order_by("task"))


def pinned_models(organization_id: int) -> Mapping[str, str]:
    """Task type -> model."""
    return dict(Pin.objects.filter(organization_id=organization_id).values_list("task", "model"))


def follows_successors(organization_id: int) -> bool:
    """Whether a retired model moves to its successor even where that is dearer."""
    rows = RoutingPreferences.objects.filter(organization_id=organization_id)
    return rows.values_list("follows_successors", flat=True).first() or False


def feedback_on(organization_id: int, request_id: str) -> Feedback | None:
    """What the organization thought of this answer; None where it said nothing."""
    return Feedback.objects.filter(organization_id=organization_id, request_id=request_id).first()


def market_content(fingerprint: str) -> object | None:
    """The candidates behind a receipt, no tenant's in particular; None for an unknown fingerprint."""
    return Market.objects.filter(pk=fingerprint).values_list("content", flat=True).first()
