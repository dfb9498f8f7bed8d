"""What every store of uploads says: where a file is to be put, and that it is not there."""

from collections.abc import Mapping
from dataclasses import dataclass

from komilion.common.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Target:
    """Where a file is put, by PUT and with these headers."""

    url: str
    headers: Mapping[str, str]


def not_there() -> BadRequest:
    """Nobody sent the file yet, or not all of it."""
    return BadRequest("The file of this audioKey was not uploaded (to its end) yet.", param="audioKey")
