"""What the pages about usage say in one word."""

from django import template

register = template.Library()

MINUTE_MS = 60_000


@register.filter
def duration(ms: int | None) -> str:
    """640 -> `640 ms`, 1_840 -> `1.8 s`, 125_000 -> `2 min 5 s`; a dash where nothing was measured."""
    if ms is None:
        return "-"
    if ms < 1_000:
        return f"{ms} ms"
    if ms < MINUTE_MS:
        return f"{ms // 1_000}.{ms % 1_000 // 100} s"
    return f"{ms // MINUTE_MS} min {ms % MINUTE_MS // 1_000} s"
