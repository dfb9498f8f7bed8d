"""Addresses that stand in invitations."""

from django.urls import path

from komilion.web.people import invitations

app_name = "invitations"
urlpatterns = [path("<str:token>", invitations.invitation, name="open")]
