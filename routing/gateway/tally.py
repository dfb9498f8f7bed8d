"""What `/metrics` says of calls: counted from the usage row, so the two cannot disagree about what there was."""

from typing import Any

from komilion.common.metrics import count, observe

MS_PER_S = 1_000


def tally(row: dict[str, Any]) -> None:
    """Count one settled call by model and provider."""
    offer = (row["model"], row["provider"])
    count("komilion_calls", (*offer, row["outcome"]))
    count("komilion_charged_nano_usd", offer, row["charge_nano"])
    count("komilion_fee_nano_usd", offer, row["fee_nano"])
    for bucket, units in row["usage"].items():
        count("komilion_tokens", (*offer, bucket), units)
    observe("komilion_call_seconds", offer, row["duration_ms"] / MS_PER_S)
    if row["first_content_ms"] is not None:
        observe("komilion_first_content_seconds", offer, row["first_content_ms"] / MS_PER_S)
