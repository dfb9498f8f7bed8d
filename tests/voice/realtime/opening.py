"""What the tests share that open sessions, or are refused one."""

import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.voice.realtime.talking import Stand


async def refusal(stand: Stand, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
    """Status and error of a handshake that is refused."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect(stand.url(path), **options):
            pass
    response = refused.value.response
    return response.status_code, json.loads(response.body)["error"]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
