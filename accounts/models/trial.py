"""Who had trial credit: kept after the account is deleted, and without the address itself."""

from typing import override

from django.db import models
from django.db.models import Q


class TrialGrant(models.Model):
    """One per person and organization: `address_hash` is the keyed hash of the normalised, verified e-mail address.

    A person is the same under another address (`user_id`), and an address is the same person's under another account.
    """

    address_hash = models.BinaryField(max_length=32, unique=True)
    user_id = models.BigIntegerField(unique=True, null=True)  # null: from before it was noted
    organization_id = models.BigIntegerField(unique=True)
    amount_nano = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    @override
    def __str__(self) -> str:
        return f"trial credit of organization {self.organization_id}"


class TrialDay(models.Model):
    """What was granted to everybody together on one day (UTC); the row is what racing sign-ups wait for."""

    day = models.DateField(primary_key=True)
    granted_nano = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(granted_nano__gte=0), name="trial_day_not_negative"),
        ]

    @override
    def __str__(self) -> str:
        return f"trial credit of {self.day}"
