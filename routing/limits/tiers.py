"""The limits by tier, as the limiter reads them; they stand in `komilion.common.tiers` for every layer."""

from komilion.common.tiers import LIMIT_NAMES, MOST, TIERS, Limits, limits_for

__all__ = ["LIMIT_NAMES", "MOST", "TIERS", "Limits", "limits_for"]
