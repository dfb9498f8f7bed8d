"""How a webhook is signed: Standard Webhooks 1.0 (standardwebhooks.com), symmetric, by the organization's secret."""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks.webhooks import Webhook

PREFIX = "whsec_"
SECRET_BYTES = 32  # the specification wants 24 to 64


def new_secret() -> str:
    """A fresh secret, as the receiver's library takes it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(message_id: str, now: datetime, payload: str, signers: Sequence[str]) -> dict[str, str]:
    """The headers of one try; each of the secrets signs, so that the receiver may know either."""
    signatures = [Webhook(secret).sign(message_id, now, payload) for secret in signers]
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
