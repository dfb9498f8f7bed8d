"""Idempotency-Keys within one batch: who has claimed which, and what becomes of it. Pure, like `decide`.

A claim is a row that is inserted with the hold of its call and read under the wallet's lock, so of any number of equal
calls one is placed. It ends in one of two ways: finished, with the answer or (too large) without, or freed.
"""

from typing import Any

from billing.ledger.items import Claim, Claimed
from billing.ledger.store import Rows
from komilion.common.numbers import numbers

type ClaimKey = tuple[int, str, str]  # id of the API key, path, Idempotency-Key


class ClaimBook:
    """The claims that the items of a batch refer to, and the rows that change."""

    def __init__(self) -> None:
        self._known: dict[ClaimKey, Claimed] = {}
        self.added: list[dict[str, Any]] = []
        self.finished: list[dict[str, Any]] = []
        self.freed: list[str] = []  # request ids

    def read(self, rows: Rows) -> None:
        """What `Sql.claims` found."""
        for key_id, path, key, request_id, body_hmac, is_finished, is_kept in rows:
            self._known[key_id, path, key] = Claimed(request_id, body_hmac, bool(is_finished), bool(is_kept))

    def holder(self, claim: Claim) -> Claimed | None:
        """Whose it is. One that this very batch frees counts as taken: its row is still there."""
        return self._known.get(_key(claim))

    def take(self, claim: Claim, request_id: str) -> None:
        """The call is placed and runs."""
        self._known[_key(claim)] = Claimed(request_id, claim.body_hmac, is_finished=False, is_kept=False)
        self.added.append(_row(claim, request_id, "", is_finished=False))

    def end(self, claim: Claim, request_id: str, answer: str | None) -> None:
        """The call is settled: `answer` is kept (empty: it was too large), or None frees the key.

        Where the claim was lost, or freed by an expiry, it is made again; where somebody else has it by now, not.
        """
        holder = self.holder(claim)
        is_own = holder is not None and holder.request_id == request_id
        if answer is None:
            if is_own:
                self.free(request_id)
            return
        if is_own:
            lifetime_s = numbers.IDEMPOTENCY_LIFETIME_S
            self.finished.append({"request_id": request_id, "answer": answer, "lifetime_s": lifetime_s})
        elif holder is None:
            self.added.append(_row(claim, request_id, answer, is_finished=True))
        else:
            return
        self._known[_key(claim)] = Claimed(request_id, claim.body_hmac, is_finished=True, is_kept=bool(answer))

    def free(self, request_id: str) -> None:
        """The call came to nothing; the same key may be used again."""
        self.freed.append(request_id)


def _key(claim: Claim) -> ClaimKey:
    return claim.key_id, claim.path, claim.key


def _row(claim: Claim, request_id: str, answer: str, *, is_finished: bool) -> dict[str, Any]:
    return {
        "key_id": claim.key_id,
        "path": claim.path,
        "idempotency_key": claim.key,
        "body_hmac": claim.body_hmac,
        "request_id": request_id,
        "answer": answer,
        "is_finished": is_finished,
        "lifetime_s": numbers.IDEMPOTENCY_LIFETIME_S,
    }
