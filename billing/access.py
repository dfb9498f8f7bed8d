"""The door to what belongs to a tenant in billing: an organization and an id go in, a row comes out or `NotFound`."""

from billing.calls import CallRecord, call_record
from billing.models import UsageRow
from billing.usage_queries import usage_row
from komilion.common.errors import NotFound


def access_call(organization_id: int, request_id: str) -> CallRecord:
    """One call whole. Raises `NotFound`, for a call of another tenant too."""
    record = call_record(organization_id, request_id)
    if record is None:
        raise NotFound("There is no request with this id.")
    return record


def access_usage_row(organization_id: int, request_id: str, only_key_id: int | None = None) -> UsageRow:
    """One settled call; with `only_key_id` it must be of that key. Raises `NotFound`, for another tenant's too."""
    row = usage_row(organization_id, request_id)
    if row is None or (only_key_id is not None and row.key_id != only_key_id):
        raise NotFound("There is no such request, or it is not settled yet.")
    return row
