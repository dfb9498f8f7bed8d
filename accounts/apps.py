from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Who is calling and what they may see."""

    name = "accounts"
