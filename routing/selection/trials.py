"""Trials of a newer model: which of a pin's calls it answers.

A hash of the request's id says so. Whoever asks again about the same request hears the same, and of many requests the
newer model gets its share to within the error of sampling, whatever they are about.
"""

from collections.abc import Mapping
from zlib import crc32

import msgspec

BASIS_POINTS = 10_000
HASHES = 2**32  # of crc32


class Trial(msgspec.Struct, frozen=True):
    """A model that answers `basis_points` of 10,000 calls in the place of the pinned one."""

    model: str
    basis_points: int

    def takes(self, request_id: str) -> bool:
        """Whether this request is one of its own."""
        return crc32(request_id.encode()) * BASIS_POINTS < self.basis_points * HASHES


def trial_for(trials: Mapping[str, Trial], task: str, request_id: str) -> str | None:
    """The model on trial that answers this request of this task type; None where the pinned one does.

    A request without an id is one that nobody carries out.
    """
    trial = trials.get(task)
    return trial.model if trial is not None and request_id and trial.takes(request_id) else None
