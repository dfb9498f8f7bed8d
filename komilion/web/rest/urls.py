"""Addresses of the API's own description."""

from django.urls import path

from komilion.web.rest import views

app_name = "rest"
urlpatterns = [
    path("api/schema", views.SchemaView.as_view(), name="schema"),
    path("api/docs", views.explorer, name="explorer"),
]
