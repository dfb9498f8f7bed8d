"""What templates say in one word: money, moments, numbers, icons, rights. Every tag escapes what it shows."""

from datetime import datetime
from textwrap import indent
from typing import Any

from django import template
from django.forms import BoundField
from django.template.defaulttags import CsrfTokenNode
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from accounts.access import Viewer
from billing.queries import available_nano
from komilion.common.money import NANO_PER_USD, format_usd
from komilion.web.guards import ORGANIZATION_FIELD

register = template.Library()

OF_AN_ORGANIZATION = ("/dashboard", "/playground")  # how the addresses of its pages begin
CURRENT = mark_safe(' aria-current="page"')


@register.simple_tag
def money(nano: int | None, *, exact: bool = False) -> str | SafeString:
    """`$12.34`, the exact amount on hover; below ten cents, or where it must be `exact`, no digit is left out.

    What is left out is never rounded up: a balance of $29.99995 has no thirty dollars.
    """
    if nano is None:
        return "-"
    whole = format_usd(abs(nano))
    dollars, _, digits = whole.partition(".")
    if not exact and abs(nano) >= NANO_PER_USD // 10:
        digits = digits[:2]
    sign = "-" if nano < 0 else ""
    return format_html(
        '<span class="money" title="{}${}">{}${}.{}</span>', sign, whole, sign, f"{int(dollars):,}", digits
    )


@register.filter
def usd(nano: int | None) -> str:
    """`$3.75`, exact, for prices and sentences: no digit is rounded away."""
    return "-" if nano is None else f"{'-' if nano < 0 else ''}${format_usd(abs(nano))}"


@register.simple_tag
def when(moment: datetime | None, *, whole: bool = False) -> str | SafeString:
    """A moment in the viewer's zone, the exact one on hover; with its year where that is not this one.

    `whole`: with year and zone, for what is kept or is read by people in other zones.
    """
    if moment is None:
        return "-"
    local = timezone.localtime(moment)
    exact = local.strftime("%Y-%m-%d %H:%M:%S %Z")
    year = f" {local.year}" if whole or local.year != timezone.localtime().year else ""
    zone = f" {local:%Z}" if whole else ""
    shown = f"{local:%b} {local.day}{year}, {local:%H:%M}{zone}"
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact, shown)


@register.filter
def number(value: int | None) -> str:
    """12,345."""
    return "-" if value is None else f"{value:,}"


@register.filter
def percent(share: float | None) -> str:
    """0.0123 -> `1.2 %`."""
    return "-" if share is None else f"{100 * share:.1f} %"


@register.filter
def indented(text: str) -> str:
    """Each line three spaces further right, for mails that are text."""
    return indent(str(text), "   ")


@register.filter
def may(viewer: Viewer | None, right: str) -> bool:
    """`{% if viewer|may:"keys" %}`: whether the person has this right in the organization she looks at."""
    return bool(viewer) and viewer is not None and viewer.may(right)


@register.simple_tag(takes_context=True)
def current(context: template.Context, path: str, *, exact: bool = False) -> str:
    """Marks a link that leads to this page, or to one above it unless `exact`."""
    request = context.get("request")
    here = "" if request is None else request.path
    return CURRENT if here == path or (not exact and here.startswith(f"{path}/")) else ""


@register.simple_tag(takes_context=True)
def csrf_token(context: template.Context) -> SafeString:
    """Django's, and on an organization's pages which one the form is shown for: no form can forget it.

    Without it a form would take effect in whichever organization was switched to since, in another tab.
    """
    token = mark_safe(CsrfTokenNode().render(context))  # noqa: S308 - Django's own tag
    request, viewer = context.get("request"), context.get("viewer")
    if request is None or not request.path.startswith(OF_AN_ORGANIZATION) or not viewer:
        return token
    field = '<input type="hidden" name="{}" value="{}">'
    return token + format_html(field, ORGANIZATION_FIELD, viewer.organization_id)


@register.simple_tag
def icon(name: str) -> SafeString:
    """A drawing beside a word; components/icon.html has them."""
    return mark_safe(render_to_string("components/icon.html", {"name": name}))  # noqa: S308 - a template of ours


@register.simple_tag(takes_context=True)
def available(context: template.Context) -> int | None:
    """What the wallet of the organization that is looked at has left for new calls, in nano-USD."""
    viewer, request = context.get("viewer"), context.get("request")
    if not viewer:
        return None
    found: dict[int, int | None] = {} if request is None else vars(request).setdefault("available_nano", {})
    if viewer.organization_id not in found:  # pages show it twice
        found[viewer.organization_id] = available_nano(viewer.organization_id)
    return found[viewer.organization_id]


@register.simple_tag
def control(field: BoundField, help_text: str = "") -> SafeString:
    """The control of a form's field, described by its help and its errors for those who do not see them beside it."""
    described = [f"{field.auto_id}_helptext"] if help_text else []
    if field.errors:
        described.append(f"{field.auto_id}_error")
    attributes: dict[str, Any] = {"aria-describedby": " ".join(described)} if described else {}
    return field.as_widget(attrs=attributes)
