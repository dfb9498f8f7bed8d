"""A pinned model on its way to a newer one of its line."""

from typing import override

from django.db import models


class Upgrade(models.Model):
    """One attempt to move one pin. At most one of a pin is under way."""

    class State(models.TextChoices):
        """`asked` waits for a person, `judged` for the evaluation cases, `trial` shares the traffic."""

        ASKED = "asked"
        JUDGED = "judged"
        TRIAL = "trial"
        DONE = "done"
        ROLLED_BACK = "rolled_back"
        REFUSED = "refused"  # a gate was closed: dearer than the ceiling, a capability less, a case failed

    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    task = models.CharField(max_length=40)
    old_model = models.CharField(max_length=200)
    new_model = models.CharField(max_length=200)
    state = models.CharField(max_length=12, choices=State.choices)
    share_basis_points = models.PositiveIntegerField(default=0)  # of the pinned calls that the new model answers
    step_at = models.DateTimeField()  # when the share was last changed, or a case judged
    # What the calls of this step showed up to that moment, as advisor.trial_sql has it, so that none is read again.
    counted_to = models.DateTimeField(null=True, blank=True)
    counted = models.JSONField(default=dict, blank=True)
    tried_at = models.DateTimeField(null=True, blank=True)  # when it was last its turn to be judged by the cases
    reason = models.CharField(max_length=500, blank=True)  # why it ended as it did, in a sentence
    # `steps`: figures of both models by share, as advisor.trial_sql has them; `now`: those of the share of this moment,
    # and `said`, what the judge says of it; `cases`: a row for each evaluation case that was put to both models;
    # `ended_by`: gate, worse, ... and of one that was worse `signal`, in what, and `found_by`, whether its
    # organization's own calls say so, or all.
    report = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "task"],
                condition=models.Q(ended_at__isnull=True),
                name="one_upgrade_under_way",
            ),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.task}: {self.old_model} to {self.new_model}"
