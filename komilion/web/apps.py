from django.apps import AppConfig


class WebConfig(AppConfig):
    """What needs several apps at once: commands now, pages and sign-up with them."""

    name = "komilion.web"
    label = "web"
