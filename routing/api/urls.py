"""Addresses of this app's API."""

from django.urls import path

from routing.api.feedback import FeedbackView
from routing.api.generation import GenerationV1View, GenerationView
from routing.api.pins import PinsView

urlpatterns = [
    path("api/generation", GenerationView.as_view()),
    path("api/v1/generation", GenerationV1View.as_view()),
    path("api/pins", PinsView.as_view()),
    path("api/feedback", FeedbackView.as_view()),
]
