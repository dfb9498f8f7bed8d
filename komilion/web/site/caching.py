"""How long a public page may be kept: a minute by anybody where nobody is logged in, else never without asking."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.views.decorators.http import conditional_page

PUBLIC_S = 60

type View = Callable[..., HttpResponse]


def public_page(view: View) -> View:
    """The answer has an ETag (304 where the client has that page), a lifetime, and varies with the session's cookie."""

    @conditional_page
    @wraps(view)
    def kept(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = view(request, *args, **kwargs)
        patch_vary_headers(response, ["Cookie"])
        if settings.SESSION_COOKIE_NAME in request.COOKIES:
            patch_cache_control(response, private=True, no_cache=True)
        else:
            patch_cache_control(response, public=True, max_age=PUBLIC_S)
        return response

    return kept
