"""Words and figures of the catalogue, for the public pages: `{% load site %}`."""

from django import template

from komilion.common.money import format_usd
from komilion.web.site.search import CAPABILITY_NAMES

register = template.Library()

BUCKET_NAMES = {
    "input": "Input",
    "output": "Output",
    "cache_read": "Cached input, read",
    "cache_write": "Cached input, written",
    "cache_write_1h": "Cached input, written for an hour",
    "input_audio": "Audio in",
    "cache_read_audio": "Cached audio, read",
    "input_image": "Images in",
    "cache_read_image": "Cached images, read",
    "output_audio": "Audio out",
    "web_searches": "Web searches",
    "audio_ms": "Speech, 1,000 seconds",
    "add_on_ms": "Each add-on, 1,000 seconds",
    "characters": "Characters spoken",
}


@register.filter
def capability(name: str) -> str:
    """`json_schema` -> `JSON schema`."""
    return CAPABILITY_NAMES.get(name, name.replace("_", " "))


@register.filter
def bucket(name: str) -> str:
    """`cache_read` -> `Cached input, read`."""
    return BUCKET_NAMES.get(name, name.replace("_", " "))


@register.filter
def price(nano: int) -> str:
    """`$3.75`; exact, and `free` where it is nothing."""
    return f"${format_usd(nano)}" if nano else "free"


@register.filter
def tokens(count: int) -> str:
    """128,000 -> `128K`, 1,000,000 -> `1M`, 4,096 -> `4,096`: short only where no figure is lost."""
    for size, letter in ((10**6, "M"), (10**3, "K")):
        if count >= size and count % size == 0:
            return f"{count // size:,}{letter}"
    return f"{count:,}"
