"""Signed links of letters: who may do what to what, without logging in, until when.

A token is `ACT.ORGANIZATION.MEMBER.ROW.DAY:SIGNATURE`, short enough for a header; the signature is Django's, by
SECRET_KEY (and, to read, by SECRET_KEY_FALLBACKS). Whoever has the letter may do what its links say, and nothing else.
The same letter made twice has the same links, so an act that was done by one is done for both.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

from django.core.signing import BadSignature, Signer

from advisor.errors import LinkBroken

BROKEN = "This link is not whole. Open the letter again and follow it from there."
SALT = "advisor.link"


class Act(StrEnum):
    """What a link is for. A code never changes its meaning, as letters are kept."""

    ACCEPT = "a"
    DISMISS = "d"
    LETTERS = "l"  # stop the letters, or have fewer
    ALERTS = "h"  # stop health alerts
    AGREE = "g"  # to the upgrade of a pin
    DECLINE = "n"
    SAMPLES = "s"  # say whether prompts may be kept


ON_ADVICE = frozenset({Act.ACCEPT, Act.DISMISS})
ON_UPGRADES = frozenset({Act.AGREE, Act.DECLINE})
ON_SAMPLES = frozenset({Act.SAMPLES})
STOPS = frozenset({Act.LETTERS, Act.ALERTS})
"""Acts about letters; they are no use of a link."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a token says."""

    act: Act
    organization_id: int
    user_id: int
    row_id: int  # of the advice or the upgrade; 0 where it is about neither
    last_day: date  # in UTC; it works until that day is over

    @property
    def nonce(self) -> str:
        """What it is known by once it was used: 64 hexadecimal digits."""
        return hashlib.sha256(self._said().encode()).hexdigest()

    @property
    def token(self) -> str:
        """The link as it stands in an address."""
        return Signer(salt=SALT).sign(self._said())

    def is_over(self, now: datetime) -> bool:
        """Whether its last day is over."""
        return now.astimezone(UTC).date() > self.last_day

    def _said(self) -> str:
        numbers = f"{self.organization_id}.{self.user_id}.{self.row_id}"
        return f"{self.act.value}.{numbers}.{self.last_day:%Y%m%d}"


def read_token(token: str) -> Link:
    """What a token says. Raises `LinkBroken` for one that we did not make just so."""
    try:
        act, organization_id, user_id, row_id, day = Signer(salt=SALT).unsign(token).split(".")
        return Link(Act(act), int(organization_id), int(user_id), int(row_id), date.fromisoformat(day))
    except (BadSignature, ValueError) as error:
        raise LinkBroken(BROKEN) from error
