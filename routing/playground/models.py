"""What somebody shared from the playground with the other members of her organization."""

from typing import override

from django.conf import settings
from django.db import models


class PlaygroundShare(models.Model):
    """One run: what was asked of which models, and their answers. Sealed like every text of a tenant that is kept."""

    id = models.CharField(max_length=32, primary_key=True)  # random, so that nobody guesses it
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    title_sealed = models.BinaryField()
    content_sealed = models.BinaryField()
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["organization", "created_at"], name="shares_of_an_organization")]

    @override
    def __str__(self) -> str:
        return f"share {self.id}"
