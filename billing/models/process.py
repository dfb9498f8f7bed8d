"""Processes that own holds. One that stopped beating, or whose pid is another's by now, has lost its holds."""

from typing import override

from django.db import models
from django.db.models.functions import Now


class GatewayProcess(models.Model):
    """`boot_id`, `pid` and `pid_started` together name a process of one boot of one machine for good.

    Since `beating_since` it has beaten without a longer pause, so the database took writes all that while.
    """

    id = models.CharField(max_length=40, primary_key=True)
    boot_id = models.CharField(max_length=64)
    pid = models.PositiveIntegerField()
    pid_started = models.CharField(max_length=32)
    heartbeat_at = models.DateTimeField()
    beating_since = models.DateTimeField(db_default=Now())

    @override
    def __str__(self) -> str:
        return f"process {self.id} (pid {self.pid})"
