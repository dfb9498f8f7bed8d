"""Addresses that stand in the advisor's letters."""

from django.urls import path

from komilion.web.advice import views

app_name = "advice"
urlpatterns = [
    path("letters/<str:letters_link>", views.letters, name="letters"),
    path("upgrades/<str:upgrade_link>", views.upgrade, name="upgrade"),
    path("prompts/<str:prompts_link>", views.samples, name="samples"),
    path("<str:link>", views.advice, name="open"),
]
