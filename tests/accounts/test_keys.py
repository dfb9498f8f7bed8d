"""What a key may be given, what becomes of those it made, and what every change leaves behind."""

from datetime import timedelta
from typing import Any

import pytest

from accounts.access import access_api_key, access_asker, access_key
from accounts.actions.keys import (
    Grantor,
    KeyTerms,
    NewKey,
    do_change_key,
    do_grant_key,
    do_revoke_key,
    do_rotate_key,
    terms_of,
)
from accounts.models import ApiKey, AuditEntry
from billing.actions.keys import do_alter_key, do_make_key
from billing.queries import caps_of_keys
from komilion.common.clock import utc_now
from komilion.common.errors import Conflict, Forbidden, NotFound, Unprocessable
from komilion.common.ids import hash_api_key
from tests.people import Person, new_owner

pytestmark = pytest.mark.django_db
DOLLAR = 10**9


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


@pytest.fixture
def news(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is published, in place of publishing it."""
    heard: list[dict[str, Any]] = []
    monkeypatch.setattr("komilion.common.news.publish", lambda message: bool(heard.append(message)))
    return heard


def by(person: Person, key: NewKey | None = None) -> Grantor:
    """The person as a grantor, or her key."""
    return Grantor(person.organization_id, person.membership_id, person.email, None if key is None else key.row.pk)


def is_let_in(key: NewKey) -> bool:
    from django.conf import settings

    return access_api_key(hash_api_key(key.secret, settings.KEY_PEPPER)) is not None


def in_days(days: int):
    return utc_now() + timedelta(days=days)


MANAGER = {
    "models_allowed": frozenset({"acme/one", "acme/two"}),
    "limits": {"requests_per_minute": 60},
    "can_manage": True,
}


class TestTerms:
    @pytest.mark.parametrize(
        ("terms", "param"),
        [
            ({"name": "  "}, "name"),
            ({"name": "x" * 201}, "name"),
            ({"expires_at": timedelta(seconds=-1)}, "expires_in"),
            ({"models_allowed": frozenset()}, "models"),
            ({"models_allowed": frozenset(f"acme/{number}" for number in range(501))}, "models"),
            ({"models_allowed": frozenset({"x" * 201})}, "models"),
            ({"limits": {"requests": 1}}, "limits"),
            ({"limits": {"parallel": -1}}, "limits.parallel"),
            ({"limits": {"parallel": 33}}, "limits.parallel"),
            ({"limits": {"parallel": True}}, "limits.parallel"),
        ],
    )
    def test_terms_that_make_no_sense_are_refused_by_name(self, alice: Person, terms: dict[str, Any], param: str):
        if "expires_at" in terms:
            terms = {"expires_at": utc_now() + terms["expires_at"]}
        with pytest.raises(Unprocessable) as refused:
            do_grant_key(by(alice), KeyTerms(**{"name": "a key", **terms}))
        assert refused.value.param == param
        assert not ApiKey.objects.exists()

    def test_limits_may_be_as_high_as_the_organizations(self, alice: Person):
        made = alice.key(limits={"parallel": 32, "burst_per_s": 0})
        assert made.row.limits == {"parallel": 32, "burst_per_s": 0}

    def test_an_organization_has_room_for_so_many_keys(self, alice: Person, settings):
        settings.KEYS_PER_ORGANIZATION = 2
        first = alice.key()
        alice.key()
        with pytest.raises(Conflict):
            alice.key()
        do_revoke_key(first.row, actor="test")
        alice.key()

    def test_a_form_makes_one_key(self, alice: Person):
        do_grant_key(by(alice), KeyTerms("once"), "token-of-the-form")
        with pytest.raises(Conflict):
            do_grant_key(by(alice), KeyTerms("twice"), "token-of-the-form")
        assert [key.name for key in ApiKey.objects.all()] == ["once"]


class TestChildren:
    def test_a_child_has_what_is_left_open_from_its_parent(self, alice: Person):
        parent = alice.key(expires_at=in_days(3), **MANAGER)
        child = do_grant_key(by(alice, parent), KeyTerms("child", limits={"parallel": 2}))
        terms = terms_of(child.row)
        assert terms.expires_at == parent.row.expires_at
        assert terms.models_allowed == MANAGER["models_allowed"]
        assert terms.limits == {"requests_per_minute": 60, "parallel": 2}
        assert not terms.can_manage
        assert child.row.parent_id == parent.row.pk

    @pytest.mark.parametrize(
        ("terms", "param"),
        [
            ({"expires_at": 4}, "expires_in"),
            ({"models_allowed": frozenset({"acme/one", "acme/three"})}, "models"),
            ({"limits": {"requests_per_minute": 61}}, "limits.requests_per_minute"),
        ],
    )
    def test_a_child_gets_no_more_than_its_parent_has(self, alice: Person, terms: dict[str, Any], param: str):
        parent = alice.key(expires_at=in_days(3), **MANAGER)
        if "expires_at" in terms:
            terms = {"expires_at": in_days(terms["expires_at"])}
        with pytest.raises(Forbidden) as refused:
            do_grant_key(by(alice, parent), KeyTerms("child", **terms))
        assert refused.value.param == param

    def test_a_child_may_have_less(self, alice: Person):
        parent = alice.key(expires_at=in_days(3), **MANAGER)
        less = KeyTerms("child", in_days(1), frozenset({"acme/two"}), {"requests_per_minute": 1}, can_manage=True)
        assert terms_of(do_grant_key(by(alice, parent), less).row) == less

    def test_a_key_without_the_right_makes_none(self, alice: Person):
        with pytest.raises(Forbidden):
            do_grant_key(by(alice, alice.key()), KeyTerms("child"))

    def test_a_key_that_was_revoked_meanwhile_makes_none(self, alice: Person):
        parent = alice.key(can_manage=True)
        do_revoke_key(parent.row, actor="test")
        with pytest.raises(NotFound):
            do_grant_key(by(alice, parent), KeyTerms("child"))

    def test_keys_make_keys_for_three_generations(self, alice: Person):
        grandmother = alice.key(can_manage=True)
        mother = do_grant_key(by(alice, grandmother), KeyTerms("mother", can_manage=True))
        with pytest.raises(Forbidden):
            do_grant_key(by(alice, mother), KeyTerms("child", can_manage=True))
        child = do_grant_key(by(alice, mother), KeyTerms("child"))
        ApiKey.objects.filter(pk=child.row.pk).update(can_manage=True)
        with pytest.raises(Forbidden):
            do_grant_key(by(alice, child), KeyTerms("grandchild"))

    def test_revoking_a_key_ends_all_that_descends_from_it(
        self, alice: Person, news, django_capture_on_commit_callbacks
    ):
        grandmother = alice.key(can_manage=True)
        mother = do_grant_key(by(alice, grandmother), KeyTerms("mother", can_manage=True))
        child = do_grant_key(by(alice, mother), KeyTerms("child"))
        other = alice.key()
        epochs = {key.row.pk: key.row.auth_epoch for key in (grandmother, mother, child)}
        with django_capture_on_commit_callbacks(execute=True):
            do_revoke_key(grandmother.row, actor="alice@example.com")
        assert [is_let_in(key) for key in (grandmother, mother, child, other)] == [False, False, False, True]
        assert all(ApiKey.objects.get(pk=pk).auth_epoch == epoch + 1 for pk, epoch in epochs.items())
        hashes = {bytes(key.row.key_hash).hex() for key in (grandmother, mother, child)}
        assert {message["hash"] for message in news} == hashes
        assert {message["kind"] for message in news} == {"key_changed"}

    def test_a_key_whose_parent_is_revoked_already_can_still_be_revoked_with_it(self, alice: Person):
        parent = alice.key(can_manage=True)
        child = do_grant_key(by(alice, parent), KeyTerms("child"))
        ApiKey.objects.filter(pk=parent.row.pk).update(revoked_at=utc_now())
        do_revoke_key(parent.row, actor="test")
        assert not is_let_in(child)

    def test_narrowing_a_key_narrows_what_it_made(self, alice: Person):
        parent = alice.key(**MANAGER)
        child = do_grant_key(by(alice, parent), KeyTerms("child", can_manage=True, limits={"parallel": 3}))
        grandchild = do_grant_key(by(alice, child), KeyTerms("grandchild", models_allowed=frozenset({"acme/two"})))
        end = in_days(1)
        narrow = KeyTerms("parent", end, frozenset({"acme/one"}), {"requests_per_minute": 5, "parallel": 2})
        do_change_key(by(alice), parent.row, narrow)
        child.row.refresh_from_db()
        grandchild.row.refresh_from_db()
        assert terms_of(child.row) == KeyTerms(
            "child", end, frozenset({"acme/one"}), {"requests_per_minute": 5, "parallel": 2}
        )
        assert grandchild.row.models_allowed == []
        assert child.row.auth_epoch == grandchild.row.auth_epoch == 1

    def test_widening_a_key_widens_nothing_else(self, alice: Person):
        parent = alice.key(**MANAGER)
        child = do_grant_key(by(alice, parent), KeyTerms("child"))
        do_change_key(by(alice), parent.row, KeyTerms("parent", can_manage=True, limits=MANAGER["limits"]))
        child.row.refresh_from_db()
        assert set(child.row.models_allowed) == MANAGER["models_allowed"]
        assert child.row.auth_epoch == 0
        do_change_key(by(alice), parent.row, KeyTerms("parent", can_manage=True))
        child.row.refresh_from_db()
        assert child.row.limits == {"requests_per_minute": 60}
        assert child.row.auth_epoch == 1  # whoever has it cached counts its calls in its parent's limits

    def test_even_a_person_gives_a_child_no_more_than_its_parent_has(self, alice: Person):
        child = do_grant_key(by(alice, alice.key(**MANAGER)), KeyTerms("child"))
        with pytest.raises(Forbidden):
            do_change_key(by(alice), child.row, KeyTerms("child"))

    def test_a_child_may_not_manage_where_its_parent_may_not(self, alice: Person):
        parent = alice.key(can_manage=True)
        child = do_grant_key(by(alice, parent), KeyTerms("child", can_manage=True))
        do_change_key(by(alice), parent.row, KeyTerms("parent"))
        child.row.refresh_from_db()
        assert not child.row.can_manage
        with pytest.raises(Forbidden) as refused:
            do_change_key(by(alice), child.row, KeyTerms("child", can_manage=True))
        assert refused.value.param == "manage"

    def test_a_key_that_changes_itself_gets_no_more(self, alice: Person):
        parent = alice.key(**MANAGER)
        with pytest.raises(Forbidden):
            do_change_key(by(alice, parent), parent.row, KeyTerms("me", can_manage=True))
        less = KeyTerms("me", None, frozenset({"acme/one"}), {"requests_per_minute": 6}, can_manage=True)
        do_change_key(by(alice, parent), parent.row, less)
        assert terms_of(parent.row) == less

    def test_a_key_sees_itself_and_what_descends_from_it(self, alice: Person):
        from django.conf import settings

        grandmother = alice.key(can_manage=True)
        mother = do_grant_key(by(alice, grandmother), KeyTerms("mother", can_manage=True))
        child = do_grant_key(by(alice, mother), KeyTerms("child"))
        seen = {}
        for name, key in {"grandmother": grandmother, "mother": mother, "child": child}.items():
            asker = access_asker(hash_api_key(key.secret, settings.KEY_PEPPER))
            assert asker is not None
            seen[name] = [sees(asker, other) for other in (grandmother, mother, child)]
        assert seen == {
            "grandmother": [True, True, True],
            "mother": [False, True, True],
            "child": [False, False, True],
        }


def sees(asker: Any, key: NewKey) -> bool:
    try:
        return access_key(asker, key.row.pk).pk == key.row.pk
    except NotFound:
        return False


class TestCaps:
    def test_caps_are_set_with_the_key_or_not_at_all(self, alice: Person):
        made = do_make_key(by(alice), KeyTerms("capped"), {"day": DOLLAR, "total": 5 * DOLLAR})
        caps = caps_of_keys(alice.organization_id, [made.row.pk])[made.row.pk]
        assert {period: cap.limit_nano for period, cap in caps.items()} == {"day": DOLLAR, "total": 5 * DOLLAR}
        with pytest.raises(Unprocessable):
            do_make_key(by(alice), KeyTerms("wrong"), {"week": DOLLAR})
        assert ApiKey.objects.count() == 1

    def test_a_childs_cap_is_at_most_its_parents(self, alice: Person):
        parent = alice.key(can_manage=True, caps={"day": DOLLAR})
        with pytest.raises(Forbidden) as refused:
            do_make_key(by(alice, parent), KeyTerms("child"), {"day": DOLLAR + 1})
        assert refused.value.param == "caps.day"
        child = do_make_key(by(alice, parent), KeyTerms("child"), {"day": DOLLAR, "month": 50 * DOLLAR})
        with pytest.raises(Forbidden):
            do_alter_key(by(alice), child.row, terms_of(child.row), {"day": 2 * DOLLAR})

    def test_calls_of_a_child_are_reserved_with_its_parents_caps(self, alice: Person):
        from django.conf import settings

        parent = alice.key(can_manage=True, caps={"day": DOLLAR})
        child = do_make_key(by(alice, parent), KeyTerms("child"), {})
        caller = access_api_key(hash_api_key(child.secret, settings.KEY_PEPPER))
        assert caller is not None
        assert caller.capped_keys == (parent.row.pk,)

    def test_a_key_does_not_raise_or_lift_its_own_cap(self, alice: Person):
        key = alice.key(can_manage=True, caps={"day": DOLLAR})
        for caps in ({"day": DOLLAR + 1}, {"day": None}):
            with pytest.raises(Forbidden):
                do_alter_key(by(alice, key), key.row, terms_of(key.row), caps)
        do_alter_key(by(alice, key), key.row, terms_of(key.row), {"day": DOLLAR // 2})
        do_alter_key(by(alice), key.row, terms_of(key.row), {"day": None})
        assert caps_of_keys(alice.organization_id, [key.row.pk]) == {}

    def test_a_change_of_caps_is_on_record(self, alice: Person):
        key = alice.key(caps={"day": DOLLAR})
        do_alter_key(by(alice), key.row, terms_of(key.row), {"day": 2 * DOLLAR, "month": None, "total": DOLLAR})
        do_alter_key(by(alice), key.row, terms_of(key.row), {"day": 2 * DOLLAR})
        entries = AuditEntry.objects.filter(action="key.caps").order_by("pk")
        assert [entry.detail for entry in entries] == [
            {"name": "a key", "day": [None, "1.00"]},
            {"name": "a key", "day": ["1.00", "2.00"], "total": [None, "1.00"]},
        ]


class TestRotation:
    def test_the_old_secret_is_refused_and_everything_else_goes_on(
        self, alice: Person, news, django_capture_on_commit_callbacks
    ):
        before = alice.key(can_manage=True, caps={"day": DOLLAR})
        child = do_grant_key(by(alice, before), KeyTerms("child"))
        with django_capture_on_commit_callbacks(execute=True):
            after = do_rotate_key(before.row, actor="alice@example.com")
        assert (is_let_in(before), is_let_in(after), is_let_in(child)) == (False, True, True)
        assert after.row.pk == before.row.pk
        assert after.secret != before.secret
        assert after.row.hint in {f"{after.secret[:7]}...{after.secret[-4:]}"}
        assert "day" in caps_of_keys(alice.organization_id, [after.row.pk])[after.row.pk]
        assert [message["hash"] for message in news] == [hash_of(before)]

    def test_what_was_asked_twice_happens_once(self, alice: Person):
        key = alice.key()
        epoch = key.row.auth_epoch
        first = do_rotate_key(key.row, actor="test", epoch=epoch)
        with pytest.raises(Conflict):
            do_rotate_key(key.row, actor="test", epoch=epoch)
        assert is_let_in(first)

    def test_a_revoked_key_stays_as_it_is(self, alice: Person):
        key = alice.key()
        do_revoke_key(key.row, actor="test")
        with pytest.raises(Conflict):
            do_rotate_key(key.row, actor="test")
        with pytest.raises(Conflict):
            do_change_key(by(alice), key.row, KeyTerms("another"))


def hash_of(key: NewKey) -> str:
    from django.conf import settings

    return hash_api_key(key.secret, settings.KEY_PEPPER).hex()


class TestAudit:
    def test_every_change_is_on_record_without_a_secret(self, alice: Person):
        key = alice.key("first")
        do_change_key(by(alice), key.row, KeyTerms("second", in_days(1)))
        rotated = do_rotate_key(key.row, actor=alice.email)
        do_revoke_key(key.row, actor=alice.email)
        entries = AuditEntry.objects.filter(organization_id=alice.organization_id, action__startswith="key.")
        assert [entry.action for entry in entries.order_by("pk")] == [
            "key.create",
            "key.change",
            "key.rotate",
            "key.revoke",
        ]
        assert all(entry.actor == alice.email for entry in entries)
        change = entries.get(action="key.change").detail
        assert change["name"] == ["first", "second"]
        assert change["expires_at"][0] is None
        told = " ".join(f"{entry.subject} {entry.detail}" for entry in entries)
        assert key.secret not in told
        assert rotated.secret not in told
