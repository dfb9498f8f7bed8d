"""API keys. The key itself is shown once and never stored; what is stored is its keyed hash."""

from typing import override

from django.db import models

from accounts.models.organization import Membership, Organization


class ApiKey(models.Model):
    """One key of one organization; `auth_epoch` goes up with every change to it.

    A key that was made by another key (`parent`) ends with it.
    """

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="api_keys")
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="children")
    membership = models.ForeignKey(Membership, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=200)
    key_hash = models.BinaryField(max_length=32, unique=True)
    hint = models.CharField(max_length=20)
    models_allowed = models.JSONField(null=True, blank=True)  # list of model ids; null = every model
    limits = models.JSONField(default=dict, blank=True)  # limits of this key alone, beside the organization's
    has_caps = models.BooleanField(default=False)  # of its own, in billing; changed with them, under the wallet's lock
    can_manage = models.BooleanField(default=False)  # may make and revoke keys that have no more rights than itself
    auth_epoch = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    form_token = models.CharField(max_length=64, null=True, blank=True, unique=True)  # of the form that made it: once

    @override
    def __str__(self) -> str:
        return f"{self.name} ({self.hint})"
