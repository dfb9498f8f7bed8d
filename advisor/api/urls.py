"""Addresses of this app's API."""

from django.urls import path

from advisor.api.advice import AcceptView, DismissView, RecommendationsView

urlpatterns = [
    path("api/advisor/recommendations", RecommendationsView.as_view()),
    path("api/advisor/accept", AcceptView.as_view()),
    path("api/advisor/dismiss", DismissView.as_view()),
]
