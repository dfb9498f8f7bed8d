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
    evidence = models.JSONField()  # figures by name, and in `moved` what a pin moves (advisor.moved.Moved)
    risks = models.JSONField()
    expires_on = models.DateField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    state_at = models.DateTimeField()
    state_by = models.CharField(max_length=254, blank=True)
    # Of accepted advice: since when another model is pinned, or none, or newer advice of it was accepted.
    pinned_until = models.DateTimeField(null=True, blank=True)
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
        indexes = [
            models.Index(fields=["organization", "state"], name="advice_by_state"),
            models.Index(fields=["state", "state_at"], name="advice_by_answer"),
            models.Index(fields=["week"], name="advice_by_week"),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.week}: {self.kind} {self.subject} {self.model}"


class Effect(models.Model):
    """What an accepted advice brought in one ISO week in which its pin held, against what would have been without it.

    What it is compared with is null where a model that was in use before has no price any more.
    """

    advice = models.ForeignKey(Advice, on_delete=models.CASCADE, related_name="effects")
    week = models.CharField(max_length=8)
    requests = models.BigIntegerField()
    actual_nano = models.BigIntegerField()
    without_nano = models.BigIntegerField(null=True, blank=True)  # the same work by the models in use before
    low_nano = models.BigIntegerField(null=True, blank=True)  # the ends of what was promised for as much work
    high_nano = models.BigIntegerField(null=True, blank=True)
    signals = models.JSONField()  # of the week, as advisor.moved.Signals has them

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["advice", "week"], name="one_effect_a_week"),
            models.CheckConstraint(
                condition=models.Q(without_nano=None, low_nano=None, high_nano=None)
                | models.Q(without_nano__isnull=False, low_nano__isnull=False, high_nano__isnull=False),
                name="a_week_is_compared_or_not",
            ),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.advice} in {self.week}"
