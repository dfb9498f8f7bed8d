"""The door to what belongs to a tenant in billing: an organization and an id go in, a row comes out or `NotFound`."""

from billing.calls import CallRecord, call_record
from komilion.common.errors import NotFound


def access_call(organization_id: int, request_id: str) -> CallRecord:
    """One call whole. Raises `NotFound`, for a call of another tenant too."""
    record = call_record(organization_id, request_id)
    if record is None:
        raise NotFound("There is no request with this id.")
    return record
