"""Who had trial credit: kept after the account is deleted, and without the address itself."""

from typing import override

from django.db import models


class TrialGrant(models.Model):
    """One per person: `address_hash` is the keyed hash of the normalised, verified e-mail address."""

    address_hash = models.BinaryField(max_length=32, unique=True)
    organization_id = models.BigIntegerField()
    amount_nano = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    @override
    def __str__(self) -> str:
        return f"trial credit of organization {self.organization_id}"
