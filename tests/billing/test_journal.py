"""The journal: what it says is written is on the disk, and what was torn off was never promised."""

import errno
import os
from pathlib import Path

import pytest

from billing.ledger.items import Settle, Void
from billing.ledger.journal import Journal, orphans, waiting_request_ids


def settlement(request_id: str, **changes: object) -> Settle:
    fields = {"wallet_id": 1, "held": 5, "cost": 4, "fee": 1, "price_ids": [1], "process_id": "p", "usage_row": {}}
    return Settle(request_id=request_id, **{**fields, **changes})  # type: ignore[arg-type]


FIRST, SECOND, VOID = settlement("gen-1"), settlement("gen-2", usage_row={"app_title": "ü\n\0"}), Void("gen-3", 1)


@pytest.fixture
def journal(tmp_path: Path):
    journal = Journal(tmp_path / "journal", "p-1")
    yield journal
    journal.close()


def test_items_come_back_in_order(journal: Journal):
    journal.append([FIRST, SECOND])
    journal.append([VOID])
    assert journal.read() == [FIRST, SECOND, VOID]
    assert journal.waiting == 3
    journal.clear()
    assert journal.read() == []
    assert journal.waiting == 0


def test_an_item_is_synced_before_append_returns(journal: Journal, monkeypatch: pytest.MonkeyPatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(journal.path.read_bytes()))
    journal.append([FIRST])
    assert b"gen-1" in synced[-1]


def test_nothing_to_write_costs_nothing(journal: Journal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: pytest.fail("synced for nothing"))
    journal.append([])
    assert journal.waiting == 0


def test_a_torn_last_line_is_dropped_at_every_length(journal: Journal):
    journal.append([FIRST])
    whole = journal.path.read_bytes()
    journal.append([SECOND])
    torn = journal.path.read_bytes()
    for length in range(len(whole) + 1, len(torn) - 1):
        journal.path.write_bytes(torn[:length])
        assert journal.read() == [FIRST], length


def test_what_is_written_after_a_torn_line_is_not_lost(journal: Journal):
    journal.append([FIRST])
    journal.path.write_bytes(journal.path.read_bytes()[:-9])
    journal.append([SECOND])
    assert journal.read() == [SECOND]


def test_a_full_disk_leaves_the_journal_as_it_was(journal: Journal, monkeypatch: pytest.MonkeyPatch):
    journal.append([FIRST])

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match="No space"):
            journal.append([SECOND])
    assert journal.waiting == 1
    assert journal.read() == [FIRST]
    journal.append([VOID])
    assert journal.read() == [FIRST, VOID]


def test_it_is_private_and_goes_when_it_is_empty(tmp_path: Path):
    journal = Journal(tmp_path / "journal", "p-1")
    assert (tmp_path / "journal").stat().st_mode & 0o077 == 0
    journal.close()
    assert not journal.path.exists()


def test_it_stays_while_something_waits(tmp_path: Path):
    journal = Journal(tmp_path, "p-1")
    journal.append([FIRST])
    journal.close()
    again = Journal(tmp_path, "p-1")
    assert again.waiting == 1
    assert again.read() == [FIRST]
    again.close()


def test_the_journal_of_a_living_process_is_no_orphan(journal: Journal):
    journal.append([FIRST])
    assert list(orphans(journal.path.parent)) == []
    assert waiting_request_ids(journal.path.parent) == {"gen-1"}


def test_an_orphan_is_locked_while_it_is_replayed(tmp_path: Path):
    journal = Journal(tmp_path, "p-1")
    journal.append([FIRST, VOID])
    journal.close()
    for path, items, unreadable in orphans(tmp_path):
        assert (path, items, unreadable) == (journal.path, [FIRST, VOID], [])
        assert list(orphans(tmp_path)) == [], "a second reaper must not replay it too"


def test_lines_that_cannot_be_read_are_kept_apart(tmp_path: Path):
    journal = Journal(tmp_path, "p-1")
    journal.append([FIRST, SECOND])
    journal.close()
    body = journal.path.read_bytes().replace(b"gen-1", b"gen-9")
    journal.path.write_bytes(body + b"no checksum\n")
    ((_, items, unreadable),) = orphans(tmp_path)
    assert items == [SECOND]
    assert [line[-12:] for line in unreadable] == [body.split(b"\n")[1][-11:] + b"\n", b"no checksum\n"]


def test_a_journal_that_goes_while_one_looks_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: [tmp_path / "gone.jsonl"])
    assert list(orphans(tmp_path)) == []
    assert waiting_request_ids(tmp_path) == set()
