"""Addresses served by Django; the gateway's never come here (see komilion.envelope)."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path

# Operators log in where everybody does: same limits on guessing, same second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
admin.site.site_header = "Komilion, for operators"
admin.site.site_title = "Komilion"

urlpatterns = [
    path("", include("komilion.web.site.urls")),
    path("auth/", include("komilion.web.people.auth_urls")),
    path("invitations/", include("komilion.web.people.invitation_urls")),
    path("advice/", include("komilion.web.advice.urls")),
    path("", include("komilion.web.dashboard.urls")),
    path("", include("komilion.web.keys.urls")),
    path("", include("komilion.web.people.urls")),
    path("", include("komilion.web.paying.urls")),
    path("", include("komilion.web.playground.urls")),
    path("", include("komilion.web.voice.urls")),
    path("", include("komilion.web.rest.urls")),
    path("", include("billing.api.urls")),
    path("", include("routing.api.urls")),
    path("", include("voice.api.urls")),
    path("", include("advisor.api.urls")),
    path("webhooks/mail", include("komilion.web.advice.mail_urls")),
    path("operator/", admin.site.urls),
]
