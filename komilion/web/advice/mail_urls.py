"""The address to which the vendor of our mail posts, `/webhooks/mail`."""

from django.urls import path

from komilion.web.advice.mail_events import mail_events

urlpatterns = [path("", mail_events)]
