"""The pages of API keys: the list, a new one, one in detail, and what can be done to it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import Right, Viewer, access_key, asker_of
from accounts.actions.keys import NewKey, do_revoke_key, do_rotate_key
from accounts.key_queries import children_of, keys_page, limits_of
from accounts.models import ApiKey
from billing.actions.keys import do_alter_key, do_make_key, grantor_of
from billing.key_usage import caps_in_order, last_call_at
from billing.usage_queries import has_usage
from komilion.common.errors import Conflict, Forbidden, Unprocessable
from komilion.common.row_ids import row_id
from komilion.web.guards import with_viewer
from komilion.web.keys.forms import KeyForm, initial_of
from komilion.web.keys.rows import row_of, rows_of

KEYS_PER_PAGE = 50


@require_safe
@with_viewer()
def list_keys(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """All keys of the organization, the newest first, revoked ones too."""
    before_id = row_id(request.GET.get("before", ""))
    keys, older_id = keys_page(asker_of(viewer), before_id=before_id, limit=KEYS_PER_PAGE)
    older = None if older_id is None else f"?before={older_id}"
    newer = None if before_id is None else request.path
    return render(
        request, "keys/list.html", {"rows": rows_of(viewer.organization_id, keys), "older": older, "newer": newer}
    )


@require_http_methods(["GET", "HEAD", "POST"])
@with_viewer(Right.KEYS)
@never_cache
def new_key(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """The form, and after it the key with its secret: in this one answer, and a form makes one key only."""
    most = limits_of(viewer.organization_id)
    form = KeyForm(request.POST, most=most) if request.method == "POST" else KeyForm(most=most)
    if request.method == "POST" and form.is_valid():
        try:
            made = do_make_key(grantor_of(asker_of(viewer)), form.terms(), form.caps(), form.cleaned_data["form_token"])
        except Conflict as error:
            messages.error(request, error.message)
            return redirect("keys:list")
        except (Unprocessable, Forbidden) as error:
            form.refuse(error)
        else:
            return _show_secret(request, made, "made")
    return render(request, "keys/new.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@with_viewer()
@never_cache
def one_key(request: HttpRequest, viewer: Viewer, key_id: int) -> HttpResponse:
    """A key in detail; for those who may, with a form to change it."""
    key = access_key(asker_of(viewer), key_id)
    if request.method == "POST":
        viewer.must(Right.KEYS)
    caps = caps_in_order(viewer.organization_id, [key.pk]).get(key.pk, {})
    most = limits_of(viewer.organization_id)
    form = KeyForm(
        request.POST if request.method == "POST" else None, initial=initial_of(key, caps), most=most, key=key
    )
    if request.method == "POST" and form.is_valid():
        try:
            do_alter_key(grantor_of(asker_of(viewer)), key, form.terms(), form.caps(), form.epoch())
        except (Unprocessable, Forbidden) as error:
            form.refuse(error)
        except Conflict as error:
            messages.error(request, error.message)
            return redirect("keys:one", key_id=key.pk)
        else:
            messages.success(request, "The key is changed, from the next call on.")
            return redirect("keys:one", key_id=key.pk)
    return render(
        request,
        "keys/one.html",
        {
            "key": key,
            "row": row_of(viewer.organization_id, key),
            "last_used_at": last_call_at(viewer.organization_id, key.pk),
            "children": children_of(key),
            "epoch": str(key.auth_epoch),
            "form": form,
        },
        status=422 if form.errors else 200,
    )


@require_POST
@with_viewer()
@never_cache
def rotate_key(request: HttpRequest, viewer: Viewer, key_id: int) -> HttpResponse:
    """A new secret, shown in this one answer; the address names the state that was seen, so a reload does nothing."""
    key = access_key(asker_of(viewer), key_id)
    viewer.must(Right.KEYS)
    epoch = row_id(request.GET.get("epoch", ""))
    if epoch is None:
        raise Conflict("Open the key's page anew, and rotate it there.")
    try:
        made = do_rotate_key(key, actor=viewer.email, epoch=epoch)
    except Conflict as error:
        messages.error(request, error.message)
        return redirect("keys:one", key_id=key.pk)
    return _show_secret(request, made, "rotated")


@require_POST
@with_viewer()
def revoke_key(request: HttpRequest, viewer: Viewer, key_id: int) -> HttpResponse:
    """The end of a key and of those it made."""
    key = access_key(asker_of(viewer), key_id)
    viewer.must(Right.KEYS)
    do_revoke_key(key, actor=viewer.email)
    messages.success(request, f"{key.name} is revoked: no call with it is let in any more.")
    return redirect("keys:list")


def _show_secret(request: HttpRequest, made: NewKey, what: str) -> HttpResponse:
    """The only page with a secret. It is kept nowhere: not in the session, and not by the browser."""
    key: ApiKey = made.row
    next_page = "keys:list" if has_usage(key.organization_id) else "dashboard:overview"  # the first steps go on there
    context = {"key": key, "secret": made.secret, "what": what, "next_url": reverse(next_page)}
    response = render(request, "keys/secret.html", context)
    response["Cache-Control"] = "no-store"
    return response
