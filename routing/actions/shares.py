"""Sharing runs of the playground, and taking them back."""

import secrets

import msgspec
from django.conf import settings
from django.db import transaction

from accounts.access import Right, Viewer
from accounts.actions.changes import audit, lock_organization
from komilion.common.clock import utc_now
from komilion.common.errors import Conflict, NotFound, PayloadTooLarge
from routing.catalog.credentials import seal
from routing.playground.content import SharedRun
from routing.playground.models import PlaygroundShare

ID_BYTES = 18


def do_share(viewer: Viewer, run: SharedRun) -> str:
    """Keep a run for the members of the organization; returns its id. Raises `PayloadTooLarge`, `Conflict`.

    Locks the organization, so that two at once do not pass its limit.
    """
    viewer.must(Right.KEYS)
    content = msgspec.json.encode(run)
    if len(content) > settings.SHARE_LIMIT_BYTES:
        limit = settings.SHARE_LIMIT_BYTES // 2**10
        raise PayloadTooLarge(f"This run is larger than {limit:,} KiB; leave out pictures, or shorten it.")
    with transaction.atomic():
        lock_organization(viewer.organization_id)
        shares = PlaygroundShare.objects.filter(organization_id=viewer.organization_id)
        if shares.count() >= settings.SHARES_PER_ORGANIZATION:
            raise Conflict(f"{viewer.organization_name} shares as many runs as it may; delete some first.")
        share = PlaygroundShare.objects.create(
            id=secrets.token_urlsafe(ID_BYTES),
            organization_id=viewer.organization_id,
            author_id=viewer.user_id,
            title_sealed=seal(run.title.encode()),
            content_sealed=seal(content),
            created_at=utc_now(),
        )
        audit(viewer.organization_id, viewer.email, "share.create", share.pk, models=run.models)
    return share.pk


def may_delete(viewer: Viewer, author_id: int | None) -> bool:
    """Whoever made it, and whoever manages the members."""
    is_hers = author_id == viewer.user_id and viewer.may(Right.KEYS)
    return is_hers or viewer.may(Right.MEMBERS)


def do_delete_share(viewer: Viewer, share_id: str) -> None:
    """Its link leads nowhere from now on. Raises `NotFound`, `Forbidden`, `Suspended`."""
    with transaction.atomic():
        lock_organization(viewer.organization_id)
        share = PlaygroundShare.objects.filter(organization_id=viewer.organization_id, pk=share_id).first()
        if share is None:
            raise NotFound("There is no such shared run.")
        if not may_delete(viewer, share.author_id):
            viewer.must(Right.MEMBERS)
        share.delete()
        audit(viewer.organization_id, viewer.email, "share.delete", share_id)
