"""Sums of usage rows by the quarter-hour, the hour and the day (UTC), built by a job; the rows stay the truth.

All grains are in one table, so one statement writes them and one reads any mixture of them (docs/usage.md). Quarters
are there because days begin at half past the hour in some zones, and a quarter past it in others. Counters on the hot
path would be faster to have and wrong after the first crash; a sum can be built again for any window at any time.
"""

from typing import override

from django.db import models

QUARTER_S, HOUR_S, DAY_S = 900, 3_600, 86_400
GRAINS_S = (QUARTER_S, HOUR_S, DAY_S)  # each is a multiple of the one before

# Upper ends of the classes of the histogram of durations, in milliseconds; what took longer is in the last class.
LATENCY_EDGES_MS = (
    *(50, 100, 150, 200, 300, 500, 750),
    *(1_000, 1_500, 2_000, 3_000, 5_000, 7_500),
    *(10_000, 15_000, 20_000, 30_000, 60_000, 120_000, 300_000),
)
LATENCY_COLUMNS = (*(f"within_{edge}_ms" for edge in LATENCY_EDGES_MS), "longer")


class UsageSum(models.Model):
    """One slot of one grain; amounts in nano-USD, durations in milliseconds. Columns of the histogram are below."""

    pk = models.CompositePrimaryKey("organization_id", "grain_s", "starts_at", "key_id", "model", "provider", "outcome")
    organization_id = models.BigIntegerField()
    grain_s = models.PositiveIntegerField()
    starts_at = models.DateTimeField()
    key_id = models.BigIntegerField()  # 0: no key
    model = models.CharField(max_length=200)
    provider = models.CharField(max_length=64)
    outcome = models.CharField(max_length=24)
    requests = models.BigIntegerField()
    input_tokens = models.BigIntegerField()  # all of them, whatever their price
    cached_tokens = models.BigIntegerField()  # those of them that came from the provider's cache
    output_tokens = models.BigIntegerField()
    cost_nano = models.BigIntegerField()
    fee_nano = models.BigIntegerField()
    charge_nano = models.BigIntegerField()
    savings_nano = models.BigIntegerField()
    duration_ms = models.BigIntegerField()
    first_content_ms = models.BigIntegerField()
    first_contents = models.BigIntegerField()  # rows that had a first content

    class Meta:
        indexes = [models.Index(fields=["grain_s", "starts_at"], name="usage_sum_by_time")]

    @override
    def __str__(self) -> str:
        return f"usage of organization {self.organization_id} in {self.grain_s} s from {self.starts_at:%Y-%m-%d %H:%M}"


for _column in LATENCY_COLUMNS:
    UsageSum.add_to_class(_column, models.BigIntegerField())


class LabelSum(models.Model):
    """Requests and charge of one tag or one end user in a slot; a request counts once for each of its tags."""

    class Kind(models.TextChoices):
        """What `label` is."""

        TAG = "tag"
        END_USER = "end_user"

    pk = models.CompositePrimaryKey("organization_id", "grain_s", "kind", "label", "starts_at")
    organization_id = models.BigIntegerField()
    grain_s = models.PositiveIntegerField()
    kind = models.CharField(max_length=8, choices=Kind.choices)
    label = models.CharField(max_length=512)
    starts_at = models.DateTimeField()
    requests = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    charge_nano = models.BigIntegerField()

    class Meta:
        indexes = [
            models.Index(fields=["grain_s", "starts_at"], name="label_sum_by_time"),
            models.Index(fields=["organization_id", "grain_s", "starts_at"], name="label_sum_by_organization"),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.kind} {self.label} of organization {self.organization_id} from {self.starts_at:%Y-%m-%d %H:%M}"


class UsageMark(models.Model):
    """How far the sums have come: they hold the settlements of ledger entries up to `entry_id`, each once.

    `seen_entry_id` is the next stop: it becomes the mark when every transaction that ran when it was seen has ended
    (`seen_before_xid` on PostgreSQL), so no entry below it can still appear.
    """

    id = models.PositiveSmallIntegerField(primary_key=True)
    entry_id = models.BigIntegerField(default=0)
    seen_entry_id = models.BigIntegerField(default=0)
    seen_before_xid = models.BigIntegerField(default=0)

    @override
    def __str__(self) -> str:
        return f"sums up to ledger entry {self.entry_id}"
