from django.apps import AppConfig


class RoutingConfig(AppConfig):
    """From a request to the model that answers it."""

    name = "routing"
