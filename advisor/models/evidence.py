"""What was done, by day: sums of usage rows and of feedback by task type, model and way (docs/advisor.md)."""

from typing import override

from django.db import models


class DayEvidence(models.Model):
    """One organization's calls of one UTC day with one task type, model and way.

    Plain sums, so that a day can be built again whenever its rows are there. `task` is empty for calls that named their
    model and are in no sample: what they were about is estimated when evidence is read.
    """

    pk = models.CompositePrimaryKey("day", "organization_id", "task", "model", "way", "policy")
    day = models.DateField()
    organization_id = models.BigIntegerField()
    task = models.CharField(max_length=40)
    model = models.CharField(max_length=200)
    way = models.CharField(max_length=8)  # advisor.evidence.Way
    policy = models.CharField(max_length=16)
    requests = models.BigIntegerField()
    passed_on = models.BigIntegerField(default=0)  # it failed and another model answered, in whose `requests` they are
    failed = models.BigIntegerField()
    retried = models.BigIntegerField()
    cut = models.BigIntegerField()
    input = models.BigIntegerField()  # tokens by bucket, as komilion.common.usage names them
    cache_read = models.BigIntegerField()
    cache_write = models.BigIntegerField()
    cache_write_1h = models.BigIntegerField()
    input_image = models.BigIntegerField()
    cache_read_image = models.BigIntegerField()
    output = models.BigIntegerField()
    log_output = models.FloatField()  # sums of the natural logarithm of the output tokens of `answered` calls
    log_output_square = models.FloatField()
    charge_nano = models.BigIntegerField()
    answered = models.BigIntegerField()  # calls that ended well: those that durations and lengths are of
    log_ms = models.FloatField()  # sums of the natural logarithm of the duration in milliseconds
    log_ms_square = models.FloatField()
    difficulty = models.FloatField()  # sum over the calls that have one
    rated = models.BigIntegerField()  # calls that have a difficulty
    votes = models.BigIntegerField()
    score = models.FloatField()  # sum over the votes

    class Meta:
        indexes = [models.Index(fields=["organization_id", "day"], name="evidence_by_organization")]

    @override
    def __str__(self) -> str:
        return f"organization {self.organization_id}, {self.day}: {self.task or 'unread'} by {self.model}"


class EvidenceDay(models.Model):
    """A UTC day whose evidence was built."""

    day = models.DateField(primary_key=True)
    built_at = models.DateTimeField()
    calls = models.BigIntegerField()

    @override
    def __str__(self) -> str:
        return f"{self.day}"
