from django.apps import AppConfig


class AdvisorConfig(AppConfig):
    """What could be done better, from each organization's own traffic."""

    name = "advisor"
