"""E-mails as files that a person can open: one a message, for installations without a mail server, and for tests."""

import os
import re
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, override

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from komilion.common.clock import utc_now


class EmailBackend(BaseEmailBackend):
    """Writes `folder/20260131-235959.123456-alice@example.com.eml`, readable by the owner alone."""

    def __init__(self, *, folder: str, **options: Any) -> None:
        super().__init__(**options)
        self._folder = Path(folder)

    @override
    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Write each of them whole or not at all; how many. Raises `OSError`."""
        messages = [message for message in email_messages if message.recipients()]
        if messages:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for message in messages:
            self._write(message, utc_now())
        return len(messages)

    def _write(self, message: EmailMessage, now: datetime) -> None:
        to = re.sub(r"[^a-z0-9@.+-]", "_", message.recipients()[0].lower())[:100]
        content = message.message().as_bytes()
        descriptor, draft = tempfile.mkstemp(dir=self._folder, prefix=".draft-")  # 0600
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(draft).replace(self._folder / f"{now:%Y%m%d-%H%M%S.%f}-{to}.eml")
