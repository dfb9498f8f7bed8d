"""Reads of the catalogue for pages and commands."""

import os

from routing.catalog.models import Model, Provider


def model_ids() -> frozenset[str]:
    """The ids of all models."""
    return frozenset(Model.objects.values_list("id", flat=True))


def key_of(provider: Provider) -> str:
    """Where its API key comes from, never the key."""
    if provider.api_key_env:
        is_set = bool(os.environ.get(provider.api_key_env, "").strip())
        return provider.api_key_env if is_set else f"{provider.api_key_env}, which is not set here"
    return "stored" if provider.api_key_encrypted else "none"
