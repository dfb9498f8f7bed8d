"""Addresses of the overview and the usage explorer, below `/dashboard`."""

from django.urls import path

from komilion.web.dashboard import advisor, overview, routing, upgrades, usage

app_name = "dashboard"
urlpatterns = [
    path("dashboard", overview.show, name="overview"),
    path("dashboard/first-request", overview.first_request, name="first_request"),
    path("dashboard/usage", usage.explore, name="usage"),
    path("dashboard/usage.csv", usage.export, name="usage_csv"),
    path("dashboard/routing", routing.show, name="routing"),
    path("dashboard/routing/pins", routing.set_pin, name="set_pin"),
    path("dashboard/routing/pins/remove", routing.remove_pin, name="remove_pin"),
    path("dashboard/routing/successors", routing.set_successors, name="set_successors"),
    path("dashboard/advisor", advisor.show, name="advisor"),
    path("dashboard/advisor/accept", advisor.accept, name="accept_advice"),
    path("dashboard/advisor/dismiss", advisor.dismiss, name="dismiss_advice"),
    path("dashboard/advisor/upgrades", upgrades.set_upgrades, name="set_upgrades"),
    path("dashboard/advisor/upgrades/agree", upgrades.agree, name="agree_to_upgrade"),
    path("dashboard/advisor/upgrades/decline", upgrades.decline, name="decline_upgrade"),
    path("dashboard/advisor/samples", advisor.choose_samples, name="choose_samples"),
    path("dashboard/advisor/samples/delete", advisor.delete_samples, name="delete_samples"),
    path("dashboard/advisor/cases", advisor.add_case, name="add_case"),
    path("dashboard/advisor/cases/delete", advisor.delete_case, name="delete_case"),
    path("dashboard/usage/<str:request_id>", usage.show_request, name="request"),
]
