"""Addresses of this app's API; what streams is in `voice.endpoints`."""

from django.urls import path

from voice.api.jobs import JobsView, JobView
from voice.api.uploads import UploadListView, UploadsView, UploadView

urlpatterns = [
    path("api/voice/jobs", JobsView.as_view()),
    path("api/voice/jobs/<str:job_id>", JobView.as_view()),
    path("api/voice/uploads", UploadListView.as_view()),
    path("api/voice/upload", UploadsView.as_view()),
    path("api/voice/upload/<str:audio_key>", UploadView.as_view()),
]
