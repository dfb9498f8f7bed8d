"""Reads of shared runs; each takes the organization of who asks."""

import logging
from dataclasses import dataclass
from datetime import datetime

import msgspec
from cryptography.fernet import InvalidToken

from komilion.common.errors import NotFound
from routing.catalog.credentials import unseal
from routing.playground.content import SharedRun, read_run
from routing.playground.models import PlaygroundShare

log = logging.getLogger(__name__)

SHARES_LISTED = 100
UNREADABLE = "cannot be read any more"


class ShareRow(msgspec.Struct, frozen=True):
    """One line of the list."""

    id: str
    title: str
    author: str
    author_id: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Share:
    """A shared run with everything that it holds."""

    row: ShareRow
    run: SharedRun


def shares_of(organization_id: int) -> list[ShareRow]:
    """The newest runs that members of the organization shared."""
    shares = PlaygroundShare.objects.filter(organization_id=organization_id).select_related("author")
    return [_row_of(share) for share in shares.defer("content_sealed").order_by("-created_at", "id")[:SHARES_LISTED]]


def share_of(organization_id: int, share_id: str) -> Share:
    """One of them. Raises `NotFound`, for another organization's and for one that no key opens any more, too."""
    shares = PlaygroundShare.objects.filter(organization_id=organization_id).select_related("author")
    share = shares.filter(pk=share_id).first()
    content = None if share is None else _opened(share, bytes(share.content_sealed))
    if share is None or content is None:
        raise NotFound("There is no such shared run.")
    return Share(_row_of(share), read_run(content))


def _row_of(share: PlaygroundShare) -> ShareRow:
    title = _opened(share, bytes(share.title_sealed))
    author = "" if share.author is None else share.author.email
    return ShareRow(
        id=share.pk,
        title=UNREADABLE if title is None else title.decode(),
        author=author,
        author_id=share.author_id,
        created_at=share.created_at,
    )


def _opened(share: PlaygroundShare, sealed: bytes) -> bytes | None:
    try:
        return unseal(sealed)
    except InvalidToken:  # its key was taken out of CREDENTIAL_KEYS
        log.error("a shared run cannot be decrypted any more", extra={"share": share.pk})
        return None
