"""Addresses of the playground and of the runs that are shared from it."""

from django.urls import path

from komilion.web.playground import shares, views

app_name = "playground"
urlpatterns = [
    path("playground", views.show, name="show"),
    path("playground/token", views.token, name="token"),
    path("playground/shares", shares.list_or_share, name="shares"),
    path("playground/shares/<str:share_id>", shares.open_share, name="share"),
    path("playground/shares/<str:share_id>/delete", shares.delete, name="delete_share"),
]
