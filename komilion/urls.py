"""Addresses served by Django; the gateway's never come here (see komilion.envelope)."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("komilion.web.site.urls")),
    path("auth/", include("komilion.web.people.auth_urls")),
    path("dashboard", include("komilion.web.dashboard.urls")),
    path("dashboard", include("komilion.web.people.urls")),
    path("dashboard", include("komilion.web.paying.urls")),
    path("", include("accounts.api.urls")),
    path("", include("billing.api.urls")),
    path("operator/", admin.site.urls),
]
