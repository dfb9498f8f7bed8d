"""Sign-up, login, passwords, second factors: allauth's addresses, three answered by views of ours."""

from django.urls import include, path, re_path

from komilion.web.people import entrance, undo_email

urlpatterns = [
    path("confirm-email/again/", entrance.send_again, name="account_send_again"),
    re_path(r"^confirm-email/(?P<key>[-:\w]+)/$", entrance.confirm_email, name="account_confirm_email"),
    path("email/undo/<str:token>/", undo_email.undo_email, name="account_undo_email"),
    path("", include("allauth.urls")),
]
