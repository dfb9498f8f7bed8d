"""Addresses of the public pages."""

from django.urls import path

from komilion.web.site import views

app_name = "site"
urlpatterns = [
    path("", views.landing, name="landing"),
    path("models", views.models, name="models"),
    path("models/<path:model_id>", views.model, name="model"),
    path("pricing", views.pricing, name="pricing"),
    path("docs", views.docs, name="docs"),
    path("docs/<slug:slug>", views.docs, name="doc"),
    path("robots.txt", views.robots, name="robots"),
]
