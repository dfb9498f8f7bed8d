"""Who changed what: one row per change to keys, members and money, never edited."""

from typing import override

from django.db import models


class AuditEntry(models.Model):
    """`actor` is an e-mail address or `command line`; `detail` never holds a secret."""

    organization_id = models.BigIntegerField(null=True, db_index=True)
    actor = models.CharField(max_length=254)
    action = models.CharField(max_length=64)
    subject = models.CharField(max_length=200)
    detail = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "audit entries"

    @override
    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M} {self.actor}: {self.action} {self.subject}"
