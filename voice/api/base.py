"""What the views of voice have in common."""

from datetime import datetime


def moment(when: datetime) -> str:
    """An instant as the API writes it."""
    return when.isoformat().replace("+00:00", "Z")
