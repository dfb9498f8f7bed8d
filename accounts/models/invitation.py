"""Invitations: a link in an e-mail that makes its reader a member, once and not for ever."""

from typing import override

from django.db import models

from accounts.models.organization import Organization, Role


class Invitation(models.Model):
    """Open until it is accepted, revoked or past `expires_at`. Only the hash of the link's token is kept."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=16, choices=Role.choices)
    token_hash = models.BinaryField(max_length=32, unique=True)
    invited_by = models.CharField(max_length=254)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    @override
    def __str__(self) -> str:
        return f"invitation of {self.email} to {self.organization}"
