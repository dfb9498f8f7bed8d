"""What an organization was told, what became of it, and what it brought."""

from typing import override

from django.db import models


class Advice(models.Model):
    """One recommendation of one ISO week: of its digest, or of an alert."""

    class State(models.TextChoices):
        """What became of it. `over` is what was not answered before it expired or was said anew."""

        OPEN = "open"
        ACCEPTED = "accepted"
        DISMISSED = "dismissed"
        OVER = "over"

    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    week = models.CharField(max_length=8)  # such as 2026-W47
    alert = models.ForeignKey("advisor.Alert", on_delete=models.CASCADE, null=True, blank=True, related_name="advice")
    rank = models.PositiveSmallIntegerField()  # 1 is the most valuable of its week
    kind = models.CharField(max_length=16)  # advisor.advice.Kind
    subject = models.CharField(max_length=200)
    task = models.CharField(max_length=40, blank=True)
    model = models.CharField(max_length=200, blank=True)
    saving_low_nano = models.BigIntegerField()  # a month, fee included
    saving_mid_nano = models.BigIntegerField()
    saving_high_nano = models.BigIntegerField()
    confidence = models.FloatField()
    evidence = models.JSONField()
    risks = models.JSONField()
    expires_on = models.DateField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    state_at = models.DateTimeField()
    state_by = models.CharField(max_length=254, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "week", "kind", "subject", "task", "model"],
                condition=models.Q(alert__isnull=True),
                name="one_advice_a_week",
            ),
            models.UniqueConstraint(fields=["alert", "task"], name="one_advice_a_task"),
        ]
        indexes = [models.Index(fields=["organization", "state"], name="advice_by_state")]

    @override
    def __str__(self) -> str:
        return f"{self.week}: {self.kind} {self.subject} {self.model}"


class Effect(models.Model):
    """What an accepted advice brought in one ISO week after it, against what would have been without it."""

    advice = models.ForeignKey(Advice, on_delete=models.CASCADE, related_name="effects")
    week = models.CharField(max_length=8)
    requests = models.BigIntegerField()
    actual_nano = models.BigIntegerField()
    without_nano = models.BigIntegerField()  # the same tokens at the model that was in use before
    signals = models.JSONField()  # failed, retried, votes, score, log_ms_mean: of the week, and before

    class Meta:
        constraints = [models.UniqueConstraint(fields=["advice", "week"], name="one_effect_a_week")]

    @override
    def __str__(self) -> str:
        return f"{self.advice} in {self.week}"
