"""Addresses of the pages of API keys, below `/dashboard`."""

from django.urls import path

import komilion.common.row_ids  # noqa: F401 # makes `<id:...>` known
from komilion.web.keys import views

app_name = "keys"
urlpatterns = [
    path("dashboard/keys", views.list_keys, name="list"),
    path("dashboard/keys/new", views.new_key, name="new"),
    path("dashboard/keys/<id:key_id>", views.one_key, name="one"),
    path("dashboard/keys/<id:key_id>/rotate", views.rotate_key, name="rotate"),
    path("dashboard/keys/<id:key_id>/revoke", views.revoke_key, name="revoke"),
]
