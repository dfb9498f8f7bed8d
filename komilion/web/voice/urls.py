"""Addresses of the voice pages."""

from django.urls import path

from komilion.web.voice import meetings, recording, talk, webhooks

app_name = "voice"
urlpatterns = [
    path("dashboard/voice", talk.show, name="talk"),
    path("dashboard/voice/meetings", meetings.list_meetings, name="meetings"),
    path("dashboard/voice/meetings/<str:job_id>", meetings.one_meeting, name="meeting"),
    path("dashboard/voice/meetings/<str:job_id>/audio", recording.play, name="audio"),
    path("dashboard/voice/meetings/<str:job_id>/export", meetings.export, name="export"),
    path("dashboard/voice/meetings/<str:job_id>/delete", meetings.delete, name="delete"),
    path("dashboard/voice/webhooks", webhooks.show, name="webhooks"),
    path("dashboard/voice/webhooks/secret", webhooks.make_secret, name="secret"),
    path("dashboard/voice/webhooks/<str:delivery_id>/again", webhooks.send_again, name="again"),
]
