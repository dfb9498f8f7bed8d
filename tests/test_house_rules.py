"""The lint of the house: the tree keeps its rules, and the rules find what they are there for."""

from pathlib import Path

import pytest

from tests.house_rules import INSTEAD, NOT_FOR_REQUESTS, ROOT, breaches, breaches_in


def test_the_tree_keeps_the_rules():
    assert [str(breach) for breach in breaches()] == []


def test_every_exception_is_needed():
    for path in NOT_FOR_REQUESTS:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("key = ApiKey.objects.get(pk=1)", ".objects"),
        ("from accounts.models import ApiKey\nrows = list(ApiKey.objects.filter(pk=1))", ".objects"),
        ("ApiKey._default_manager.first()", "._default_manager"),
        ("names = [key.name for key in organization.api_keys.all()]", ".all()"),
        ("for key in organization.api_keys.filter(name='x'): pass", ".filter()"),
        ("payment.refunds.order_by('pk')", ".order_by()"),
        ("payment.refunds.first()", ".first()"),
        ("payment.refunds.get(pk=1)", ".get()"),
        ("payment.refunds.create(id='x')", ".create()"),
        ("payment.refunds.update(state='x')", ".update()"),
        ("number = payment.refunds.count()", ".count()"),
        ("payment.refunds.delete()", ".delete()"),
        ("organization.api_keys.select_related('parent')", ".select_related()"),
        ("from django.shortcuts import get_object_or_404, render", "django.shortcuts.get_object_or_404"),
        ("from django.db import connection", "django.db.connection"),
    ],
)
def test_a_way_around_the_door_is_found(source: str, what: str):
    (breach,) = breaches_in(source, "komilion/web/keys/views.py")
    assert (breach.path, breach.line) == ("komilion/web/keys/views.py", source.count("\n") + 1)
    assert f"`{what}`" in str(breach)
    assert INSTEAD in str(breach)


@pytest.mark.parametrize(
    "source",
    [
        "key = access_key(asker, key_id)",
        "from django.shortcuts import redirect, render",
        "from django.db import DatabaseError",
        "objects = [1]",
        "limit = request.GET.get('limit')",
        "attributes.update({'a': 1})",
        "dots = host.count('.')",
        "client.delete('a', 'b')",
    ],
)
def test_what_goes_through_the_door_is_let_be(source: str):
    assert list(breaches_in(source, "x.py")) == []


def test_views_are_found_wherever_they_stand(tmp_path: Path):
    for name in ("komilion/web/keys/views.py", "billing/api/usage.py", "routing/views.py", "routing/api/plans.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("Wallet.objects.first()")
    for name in ("billing/queries.py", "komilion/web/management/commands/wallet.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("Wallet.objects.first()")
    assert [breach.path for breach in breaches(tmp_path)] == [
        "billing/api/usage.py",
        "komilion/web/keys/views.py",
        "routing/api/plans.py",
        "routing/views.py",
    ]
