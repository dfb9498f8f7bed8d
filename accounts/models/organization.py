"""The tenant: everything that is owned, limited or billed belongs to an organization."""

from typing import override

from django.db import models


class Tier(models.TextChoices):
    """How much an organization may ask for; the numbers stand in komilion.common.tiers."""

    FREE = "free"
    STANDARD = "standard"
    HIGH = "high"


class Role(models.TextChoices):
    """What a member may do."""

    OWNER = "owner"  # everything
    DEVELOPER = "developer"  # keys, playground, usage
    BILLING = "billing"  # wallet, paying, usage
    VIEWER = "viewer"  # reads only


class Organization(models.Model):
    """A tenant. `auth_epoch` goes up with every change that can take a right away from a running process' cache."""

    name = models.CharField(max_length=200)
    tier = models.CharField(max_length=16, choices=Tier.choices, default=Tier.STANDARD)
    limits = models.JSONField(default=dict, blank=True)  # overrides of the tier, by the names of komilion.common.tiers
    auth_epoch = models.PositiveIntegerField(default=0)
    suspended_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    @override
    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """One person in one organization."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.OWNER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="one_membership_per_person"),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.user} in {self.organization} ({self.role})"
