"""Adding to usage rows what was found out after the call: routing's, opaque here. No money is in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from billing.models import UsageRow


@dataclass(frozen=True, slots=True)
class UsageNote:
    """What to add to the `detail` of one row, which came in at `started_at` ("YYYY-MM-DD HH:MM:SS.ffffff" UTC)."""

    request_id: str
    started_at: str
    facts: Mapping[str, Any]


def do_note_usage(notes: Sequence[UsageNote]) -> int:
    """Add them in one short transaction; how many rows were there. What is not settled yet is passed over."""
    changed = 0
    with transaction.atomic():
        for note in notes:
            created_at = datetime.fromisoformat(note.started_at).replace(tzinfo=UTC)
            rows = UsageRow.objects.filter(created_at=created_at, request_id=note.request_id)
            detail = rows.values_list("detail", flat=True).first()
            if detail is not None:
                changed += rows.update(detail={**detail, **note.facts})
    return changed
