"""What is taken out of a prompt before it may be kept, and what stays."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.redact import is_card, is_iban, redact

LETTERS = st.text(st.characters(categories=("L",)), min_size=1, max_size=20)
COMMON = ("please", "sum", "this", "up", "in", "one", "short", "line", "and", "say", "why", "it", "matters")
WORDS = st.lists(st.sampled_from(COMMON), max_size=8)
DIGIT = st.integers(0, 9)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Write to ann.lee+x@mail.example.co.uk today", "Write to [email] today"),
        ("mailto:jörg@bücher.example", "mailto:[email]"),
        ("Call +49 (0)170 123-4567 now", "Call [phone] now"),
        ("Call 0170/1234567", "Call [phone]"),
        ("Call (555) 123-4567.", "Call [phone]."),
        ("Card 4111 1111 1111 1111 please", "Card [card] please"),
        ("Card 4111111111111111", "Card [card]"),
        ("IBAN DE89 3704 0044 0532 0130 00", "IBAN [iban]"),
        ("iban: gb29nwbk60161331926819", "iban: [iban]"),
        ("key sk-proj-abcDEFghiJKLmno12", "key [key]"),
        ("AKIAIOSFODNN7EXAMPLE", "[key]"),
        ("use eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_def-1", "use [key]"),
        ("id 5f2b8c1e-77aa-4f0e-9a51-3d2c1b0a9f8e", "id [token]"),
        ("hash d41d8cd98f00b204e9800998ecf8427e", "hash [token]"),
        ("password: hunter2 and go", "password: [secret]"),
        ("API_KEY=abc go", "API_KEY=[secret] go"),
        ("from 192.168.1.10 and 2001:db8::ff00:42:8329", "from [ip] and [ip]"),
        ("see https://example.com/a/b?token=1&x=2 and go", "see https://example.com/a/b?[query] and go"),
        ("see https://ann:pw@example.com/a#part", "see https://[login]@example.com/a?[query]"),
        ("My name is ann Lee and I code", "My name is [name] and I code"),
        ("I am Ann Lee-Smith, a nurse", "I am [name], a nurse"),
        ("Dear Mr. Jones", "Dear [name]"),
        ("order 123456", "order [number]"),
        ("DB_PASSWORD=hunter2", "DB_PASSWORD=[secret]"),
        ("db_pass=hunter2 and go", "db_pass=[secret] and go"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY", "AWS_SECRET_ACCESS_KEY=[secret]"),
        ("wJalrXUtnFEMIKMDENGbPxRfiCY", "[token]"),
        ("Authorization: Bearer abcdefghijklmnopqrst", "Authorization: [secret]"),
        ("bearer abcdefghijklmnopqrst", "bearer [secret]"),
        ("my password is hunter2", "my password is [secret]"),
        ("the password for the server is hunter2, help", "the password for the server is [secret], help"),
        ("token abc123def456 fails", "token [secret] fails"),
        ("Passwort: geheim1", "Passwort: [secret]"),
        ("contraseña: perro y gato", "contraseña: [secret]"),
        ("mot de passe : chien", "mot de passe : [secret]"),
        ("Password: correct horse battery staple. Why?", "Password: [secret]. Why?"),
        ('secret: "two words" and go', "secret: [secret] and go"),
        (r'{"api_key": "a \" b", "n": 1}', '{"api_key": [secret], "n": 1}'),
        ("clientSecret = 'a b', n = 1", "clientSecret = [secret], n = 1"),
        ("4111\u20111111\u20111111\u20111111", "[card]"),
        ("4111_1111_1111_1111", "[card]"),
        ("4111,1111,1111,1111, 12/27", "[card], 12/27"),
        ("3782, 822463, 10005", "[card]"),
        ("+49\u00a0170\u00a01234567", "[phone]"),
        ("DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000 is mine", "[iban] is mine"),
        ("ann\uff20example.com", "[email]"),
        ("a\u200bnn@exam\u00adple.com", "[email]"),
        ("Best,\nAnn Lee", "Best,\n[name]"),
        ("Kind regards\nann lee\n", "Kind regards\n[name]\n"),
        ("Yours, Ann", "Yours, [name]"),
        ("Ask Mrs. Lee about it", "Ask Mrs. [name] about it"),
        ("Patient: Maria Gonzalez, 12 Baker Street", "Patient: [name], [address]"),
        ('"name": "Ann Lee"', '"name": "[name]"'),
        ("221B Baker St. in London", "[address] in London"),
        ("Berliner Straße 12 und Hauptstraße 5a", "[address] und [address]"),
        ("8 rue de Rivoli", "[address]"),
        ("Calle Mayor 3", "[address]"),
    ],
)
def test_what_tells_who_somebody_is_goes(text: str, left: str):
    assert redact(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "Sum this up in 3 lines of 80 characters.",
        "I am a developer and this is a test",
        "def add(a, b): return a + b  # O(1)",
        "It starts at 12:46:53 in version 3.13",
        "internationalization-and-localization",
        "What is 12345 + 678?",
        "https://example.com/docs/page",
        "Why is the sky blue?",
        "Section AB12 of the manual says so",
        "1999, 2000, 2001, 2002 and 2004",
        "Set max_tokens=500 and use a token bucket",
        "A secretary passes the compass, password or not",
        "Thanks.\n1. Translate this\n2. Sum it up",
        "The 3 roads meet in a square",
        "patient: no fever; name: build",
        "Thanks, I know. Hi, Can you sum it up?",
    ],
)
def test_what_tells_nothing_stays(text: str):
    assert redact(text) == text


@given(st.text(max_size=300))
def test_redacting_twice_is_redacting_once(text: str):
    once = redact(text)
    assert redact(once) == once


@given(
    st.lists(
        st.sampled_from(
            [
                "ann@example.com",
                "+49 170 1234567",
                "my name is ",
                "I am ",
                "Ann",
                "[",
                "]",
                "1",
                "22",
                "://",
                "?",
                "@",
                " ",
                "a.b",
                "sk-",
                "4111111111111111",
                "password=",
                "DE89370400440532013000",
                "::1",
                "-",
                "x" * 19,
                "é",
                "password is ",
                "secret: ",
                '"',
                ", ",
                "\n",
                "Best,",
                "Name: ",
                "12 Baker Street",
                "\uff20",
                "\u200b",
                "\u0301",
                "aB" * 10,
                "token ",
            ]
        ),
        max_size=12,
    ).map("".join)
)
def test_redacting_twice_is_redacting_once_where_things_touch(text: str):
    once = redact(text)
    assert redact(once) == once


@given(WORDS, LETTERS, WORDS)
def test_no_address_survives(before: list[str], local: str, after: list[str]):
    address = f"{local}@example.com"
    assert "@example" not in redact(" ".join([*before, address, *after]))


@given(
    WORDS,
    st.lists(DIGIT, min_size=15, max_size=15),
    st.sampled_from(["", " ", "-", "_", ",", ", ", "\u00a0", "\u2011", "\u2013", "."]),
    WORDS,
)
def test_no_card_survives(before: list[str], digits: list[int], gap: str, after: list[str]):
    check = next(last for last in range(10) if is_card([*digits, last]))
    number = "".join(map(str, [*digits, check]))
    card = gap.join(number[start : start + 4] for start in range(0, 16, 4))
    left = redact(" ".join([*before, card, *after]))
    assert card not in left
    assert "[card]" in left


@given(WORDS, st.text("0123456789", min_size=11, max_size=18), st.sampled_from(["", " ", "\u00a0", "-"]), WORDS)
def test_no_iban_survives(before: list[str], account: str, gap: str, after: list[str]):
    number = next(iban for check in range(2, 99) if is_iban(iban := f"DE{check:02}{account}"))
    shown = gap.join(number[start : start + 4] for start in range(0, len(number), 4))
    assert redact(" ".join([*before, shown, *after])).startswith(" ".join([*before, "[iban]"]))


SECRETS = st.from_regex(r"[a-z]{3,8}[0-9][A-Za-z0-9!$%&*+-]{3,12}", fullmatch=True)


@given(
    WORDS,
    st.sampled_from(["password", "DB_PASS", "client_secret", "AWS_SECRET_ACCESS_KEY", "Passwort", "apiKey", "token"]),
    st.sampled_from([": ", "=", " = ", " is ", '": "', "='", " => ", " ", ":\n"]),
    SECRETS,
    WORDS,
)
def test_no_secret_survives_behind_its_name(before: list[str], name: str, sign: str, secret: str, after: list[str]):
    assert secret not in redact(" ".join([*before, f"{name}{sign}{secret}", *after]))


@given(st.lists(st.sampled_from(["password", ": ", "12 Baker ", "Best,\n", "A ", "a1", "\ufdfa", '"', "DE11"])))
def test_what_is_left_is_plain(pieces: list[str]):
    left = redact("\x00\u200b\ud800" + "".join(pieces))
    assert left == unicodedata.normalize("NFKC", left)
    assert {"\x00", "\u200b", "\ud800"}.isdisjoint(left)


@given(WORDS, st.lists(DIGIT, min_size=6, max_size=30), WORDS)
def test_no_long_number_survives(before: list[str], digits: list[int], after: list[str]):
    number = "".join(map(str, digits))
    assert number not in redact(" ".join([*before, number, *after]))


@given(WORDS, st.ip_addresses(), WORDS)
def test_no_ip_address_survives(before: list[str], address: object, after: list[str]):
    assert f" {address} " not in f" {redact(' '.join([*before, str(address), *after]))} "


@given(WORDS, WORDS)
def test_the_words_around_stay(before: list[str], after: list[str]):
    assert redact(" ".join([*before, "ann@example.com", *after])) == " ".join([*before, "[email]", *after])


@pytest.mark.parametrize(
    "unit",
    [
        *("a", "1", "1 ", "@", "a@", "I am ", ".", ":", "/", "sk-", "a1", "A ", "?", "call me A ", "DE11A ", "DE11"),
        *("AB ", "password ", "password is ", "password for a ", "pass", "secret: ", 'secret: "', "api_", "Name: "),
        *("Best,\n", "1 A ", "12 Baker ", "Aweg ", "A Straße ", "1 rue de A ", "Via A ", "1111,", "1111 ", "_a"),
    ],
)
def test_no_text_takes_long(unit: str):
    text = unit * (10_000 // len(unit))
    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 2
