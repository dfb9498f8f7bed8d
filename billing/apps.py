from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Money and nothing else."""

    name = "billing"
