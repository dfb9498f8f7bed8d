from typing import override

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Money and nothing else."""

    name = "billing"

    @override
    def ready(self) -> None:
        """The system checks register themselves."""
        from billing.payments import checks  # noqa: F401, PLC0415 - models can be imported only now
