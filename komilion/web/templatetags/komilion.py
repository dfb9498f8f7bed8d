"""What templates say in one word: money, moments, numbers. Every tag escapes what it shows."""

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from komilion.common.money import NANO_PER_USD, format_usd

register = template.Library()


@register.simple_tag
def money(nano: int | None) -> str | SafeString:
    """`$12.34`, the exact amount on hover; below ten cents as many digits as it takes to see something."""
    if nano is None:
        return "-"
    exact = format_usd(nano)
    shown = exact if abs(nano) < NANO_PER_USD // 10 else f"{round(nano / NANO_PER_USD, 2):,.2f}"
    sign = "-" if nano < 0 else ""
    return format_html('<span class="money" title="${}">{}${}</span>', exact, sign, shown.removeprefix("-"))


@register.simple_tag
def when(moment: datetime | None) -> str | SafeString:
    """A moment in the viewer's zone, the exact one on hover."""
    if moment is None:
        return "-"
    local = timezone.localtime(moment)
    exact = local.strftime("%Y-%m-%d %H:%M:%S %Z")
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact, local.strftime("%b %-d, %H:%M")
    )


@register.filter
def number(value: int | None) -> str:
    """12,345."""
    return "-" if value is None else f"{value:,}"
