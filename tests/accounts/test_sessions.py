"""The table of sessions does not grow for ever."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session

from accounts.actions import sessions
from accounts.tasks import forget_sessions
from komilion.celery import app
from komilion.common.clock import utc_now

pytestmark = pytest.mark.django_db


def test_sessions_that_are_over_are_forgotten_once_a_day(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sessions, "ROWS_AT_ONCE", 2)
    Session.objects.all().delete()
    for number in range(5):
        Session.objects.create(session_key=f"over-{number}", expire_date=utc_now() - timedelta(seconds=1))
    Session.objects.create(session_key="logged in", expire_date=utc_now() + timedelta(days=1))
    forget_sessions()
    assert [row.session_key for row in Session.objects.all()] == ["logged in"]
    assert "accounts.tasks.forget_sessions" in {entry["task"] for entry in app.conf.beat_schedule.values()}
    app.loader.import_default_modules()
    assert "accounts.tasks.forget_sessions" in app.tasks
