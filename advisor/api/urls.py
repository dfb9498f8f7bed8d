"""Addresses of this app's API."""

from django.urls import path

from advisor.api.advice import AcceptView, DismissView, RecommendationsView
from advisor.api.upgrades import AgreeView, DeclineView, UpgradesView

urlpatterns = [
    path("api/advisor/recommendations", RecommendationsView.as_view()),
    path("api/advisor/accept", AcceptView.as_view()),
    path("api/advisor/dismiss", DismissView.as_view()),
    path("api/advisor/upgrades", UpgradesView.as_view()),
    path("api/advisor/upgrades/<id:upgrade_id>/agree", AgreeView.as_view()),
    path("api/advisor/upgrades/<id:upgrade_id>/decline", DeclineView.as_view()),
]
