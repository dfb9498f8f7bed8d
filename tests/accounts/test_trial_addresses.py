"""Which spellings are one mailbox, and which addresses are made for a few minutes."""

import pytest
from pytest_django import Settings

from accounts.actions.account import time_zones
from accounts.actions.trial import hash_address
from accounts.addresses import is_disposable, is_plain, normalise_address


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alice@Example.com", "alice@example.com"),
        ("alice+trial@example.com", "alice@example.com"),
        ("a.l.i.c.e@gmail.com", "alice@gmail.com"),
        ("Al.ice+x@googlemail.com", "alice@gmail.com"),
        ("al.i-c_e@pm.me", "alice@proton.me"),
        ("alice+x@protonmail.com", "Alice@protonmail.ch"),
        ("al.ice@ya.ru", "al-ice@yandex.com"),
        ("alice@yandex.by", "alice@yandex.ru"),
        ("alice@me.com", "alice@icloud.com"),
        ("alice+x@mac.com", "alice@icloud.com"),
        ("alice@bücher.example", "alice@xn--bcher-kva.example"),
        ("alice@example.com.", "alice@example.com"),
    ],
)
def test_spellings_of_one_mailbox_are_one(one: str, other: str):
    assert normalise_address(one) == normalise_address(other)
    assert hash_address(one) == hash_address(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("al.ice@example.com", "alice@example.com"),
        ("alice@gmail.com", "alice@example.com"),
        ("alice@gmail.com", "alice@proton.me"),
        ("al.ice@icloud.com", "alice@icloud.com"),
        ("al.ice@yandex.ru", "alice@yandex.ru"),
        ("+one@example.com", "+two@example.com"),
        ("alice@mail.example.com", "alice@example.com"),
    ],
)
def test_mailboxes_that_may_be_different_people_stay_different(one: str, other: str):
    assert hash_address(one) != hash_address(other)


def test_the_hash_tells_nothing_without_the_pepper(settings: Settings):
    before = hash_address("alice@example.com")
    assert len(before) == 32
    settings.KEY_PEPPER = b"another pepper of thirty-two chars"
    assert hash_address("alice@example.com") != before


@pytest.mark.parametrize("email", ["a@mailinator.com", "a@MAILINATOR.com", "a@x.y.mailinator.com", "a@mailinator.com."])
def test_disposable_domains_and_their_subdomains_are_known(email: str):
    assert is_disposable(email)


@pytest.mark.parametrize("email", ["a@gmail.com", "a@example.com", "a@notmailinator.example", "a@com", "nobody"])
def test_other_domains_are_not_disposable(email: str):
    assert not is_disposable(email)


@pytest.mark.parametrize("email", ['"a"@example.com', '"a\\b"@example.com', "a@[127.0.0.1]", "\u017fam@example.com"])
def test_quoted_names_and_network_addresses_are_not_plain(email: str):
    assert not is_plain(email)


@pytest.mark.parametrize("email", ["a@example.com", "o'neil+x_y-z@example.com", "alice@bücher.example"])
def test_real_addresses_are_plain(email: str):
    assert is_plain(email)


def test_time_zones_are_places_and_utc():
    zones = time_zones()
    assert {"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"} <= set(zones)
    assert not {"GMT", "EST", "Factory", "Etc/GMT+3", "localtime"} & set(zones)
    assert list(zones) == sorted(zones)
