"""Who is logged in, whether or not she belongs to an organization."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse

from accounts.models import User

type View = Callable[..., HttpResponse]


def with_person(view: View) -> View:
    """The view gets `person: User` after the request; others are sent to log in."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not isinstance(request.user, User):
            return redirect_to_login(request.get_full_path(), "account_login")
        return view(request, request.user, *args, **kwargs)

    return guarded


def answer_of(request: HttpRequest, form: Any) -> str:
    """The first thing that is wrong with a form that stands alone in a row, as a sentence."""
    return next((message for errors in form.errors.values() for message in errors), "")
