"""Sums of usage rows by the hour and by the day (UTC), built by jobs; the rows stay the truth.

A roll-up can be built again for any window at any time. Counters on the hot path would be faster to read and wrong
after the first crash.
"""

from typing import override

from django.db import models


class UsageSums(models.Model):
    """What both grains have; amounts in nano-USD, durations in milliseconds."""

    organization_id = models.BigIntegerField()
    key_id = models.BigIntegerField(default=0)  # 0: no key
    model = models.CharField(max_length=200)
    provider = models.CharField(max_length=64)
    requests = models.BigIntegerField()
    errors = models.BigIntegerField()  # outcomes that are the provider's or our fault
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cost_nano = models.BigIntegerField()
    fee_nano = models.BigIntegerField()
    charge_nano = models.BigIntegerField()
    savings_nano = models.BigIntegerField()
    duration_ms = models.BigIntegerField()
    first_content_ms = models.BigIntegerField()
    first_contents = models.BigIntegerField()  # rows with a first content

    class Meta:
        abstract = True


class UsageHour(UsageSums):
    """One hour that begins at `starts_at`."""

    starts_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization_id", "starts_at", "key_id", "model", "provider"], name="usage_hour_once"
            ),
        ]
        indexes = [models.Index(fields=["starts_at"], name="usage_hour_by_time")]

    @override
    def __str__(self) -> str:
        return f"usage of organization {self.organization_id} in the hour from {self.starts_at:%Y-%m-%d %H:00}"


class UsageDay(UsageSums):
    """One UTC day."""

    day = models.DateField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization_id", "day", "key_id", "model", "provider"], name="usage_day_once"
            ),
        ]
        indexes = [models.Index(fields=["day"], name="usage_day_by_time")]

    @override
    def __str__(self) -> str:
        return f"usage of organization {self.organization_id} on {self.day}"
