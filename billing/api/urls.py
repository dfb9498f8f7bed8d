"""Addresses of this app's API."""

from django.urls import path

import komilion.common.row_ids  # noqa: F401 # makes `<id:...>` known
from billing.api.credits import CreditsView, CurrentKeyView
from billing.api.keys import KeysView, KeyView, RotateView
from billing.api.spend import KeyInfoView, SpendByKeyView, SpendByTagView
from billing.api.stripe_webhook import stripe_webhook
from billing.api.usage import UsageView

urlpatterns = [
    path("webhooks/stripe", stripe_webhook),
    path("api/auth", KeysView.as_view()),
    path("api/auth/<id:key_id>", KeyView.as_view()),
    path("api/auth/<id:key_id>/rotate", RotateView.as_view()),
    path("api/usage", UsageView.as_view()),
    path("api/v1/credits", CreditsView.as_view()),
    path("api/v1/key", CurrentKeyView.as_view()),
    path("key/info", KeyInfoView.as_view()),
    path("spend/keys", SpendByKeyView.as_view()),
    path("spend/tags", SpendByTagView.as_view()),
]
