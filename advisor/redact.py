"""Taking out of a prompt what tells who somebody is or opens something, so that what is left may be kept. Pure.

What is taken out is replaced by a word in brackets that says what it was, so the prompt can still be read. It is better
to take too much than too little: a date or an order number that looks like a telephone number goes too, and so do the
words behind "the password is". What is left may still tell who wrote it to somebody who knows them; that is why prompts
are kept only where it was allowed.

Every pattern is bounded, so that no text takes longer than its length. Redacting twice is redacting once.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Callable

from advisor.redact_patterns import (
    ADDRESSES,
    ASSIGNED_SECRET,
    BEARER,
    CARD,
    DIGITS,
    EMAIL,
    GIVEN_SECRET,
    IBAN,
    IP,
    KEY,
    LABELLED_NAME,
    MAYBE_NAME,
    SAID_NAME,
    SAID_SECRET,
    SIGNED_NAME,
    TOKEN,
    URL,
)

type Found = re.Match[str]

LEAST_NUMBER_DIGITS = 6
LEAST_PHONE_DIGITS = 7
LEAST_TOKEN_DIGITS = 2  # in a long run of letters and digits, to tell it from a long word
CARD_DIGITS = range(13, 20)  # ISO/IEC 7812: 13 to 19 with the check digit
IBAN_CHARACTERS = range(15, 35)  # ISO 13616
UNSEEN = frozenset({"Cc", "Cf", "Cs"})  # control, format (such as U+200B) and surrogate characters


def redact(text: str) -> str:
    """The text without addresses, numbers, secrets and names that it gives away."""
    before = None
    while before != text:  # what was taken out may have parted what now shows as something
        before = text
        text = plain(text)
        for pattern, replace in RULES:
            text = pattern.sub(replace, text)
    return text


def plain(text: str) -> str:
    """The same in the characters that patterns know: NFKC (UAX #15), one kind of blank and of hyphen, none unseen.

    So nothing hides behind a full-width at sign or a zero-width space, and no database refuses it for a NUL.
    """
    return unicodedata.normalize("NFKC", "".join(map(_plain, text)))


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Pd" or character == "\N{MINUS SIGN}":
        return "-"
    if character.isspace():
        return character if character in "\t\n\r" else " "
    return "" if category in UNSEEN else character


def _url(found: Found) -> str:
    """Scheme, host and path stay."""
    scheme, login, place, query = found.groups()
    return f"{scheme}{'[login]@' if login else ''}{place}{'?[query]' if query else ''}"


def _after(word: str) -> Callable[[Found], str]:
    return lambda found: f"{found[1]}{word}"


def _token(found: Found) -> str:
    """A long run with digits, or with capitals in the middle of small letters, is no word; others are, or a path."""
    run = found[0]
    has_digits = sum(character.isdigit() for character in run) >= LEAST_TOKEN_DIGITS
    is_mixed = any(_is_mixed(part) for part in re.split(r"[^A-Za-z0-9]", run))
    return "[token]" if has_digits or is_mixed else run


def _is_mixed(part: str) -> bool:
    return part[1:] != part[1:].lower() and part != part.upper()


def _iban(found: Found) -> str:
    """Up to the last end of a group at which its check digits hold; where they never do, its digits tell."""
    run = found[0]
    for end in reversed([group.end() for group in re.finditer("[A-Za-z0-9]+", run)]):
        number = "".join(filter(str.isalnum, run[:end]))
        if len(number) in IBAN_CHARACTERS and is_iban(number):
            return f"[iban]{run[end:]}"
    return run


def is_iban(number: str) -> bool:
    """Whether the check digits are those of the others (ISO 7064, mod 97-10)."""
    return int("".join(str(int(character, 36)) for character in number[4:] + number[:4])) % 97 == 1


def _card(found: Found) -> str:
    return "[card]" if is_card([int(character) for character in found[0] if character.isdigit()]) else found[0]


def _ip(found: Found) -> str:
    try:
        ipaddress.ip_address(found[0])
    except ValueError:
        return found[0]
    return "[ip]"


def _digits(found: Found) -> str:
    """A card's number by its check digit (Luhn), a telephone's by its length, a long number."""
    digits = [int(character) for character in found[0] if character.isdigit()]
    if len(digits) in CARD_DIGITS and is_card(digits):
        return "[card]"
    looks_dialled = found[0][0] in "+(0" or any(character in " ().-/_" for character in found[0])
    if looks_dialled and len(digits) >= LEAST_PHONE_DIGITS:
        return "[phone]"
    return "[number]" if len(digits) >= LEAST_NUMBER_DIGITS else found[0]


def is_card(digits: list[int]) -> bool:
    """Whether the last digit is the check digit of the others (Luhn, ISO/IEC 7812-1 annex B)."""
    doubled = [digit if number % 2 == 0 else 2 * digit for number, digit in enumerate(reversed(digits))]
    return sum(digit - 9 if digit > 9 else digit for digit in doubled) % 10 == 0


def _said_name(found: Found) -> str:
    """The first word is the name however it is written; those after it while they are written as names are."""
    return f"{found[1]}[name]{_after_name(found[2])}"


def _maybe_name(found: Found) -> str:
    """ "I am Ann" has a name, "I am a developer" has none."""
    return f"{found[1]}[name]{_after_name(found[2])}" if found[2][0].isupper() else found[0]


def _after_name(words: str) -> str:
    """What is left behind the words of a name, of which the first is one."""
    found = re.findall(r"\S+\s*", words)
    number = 1
    while number < len(found) and found[number][0].isupper():
        number += 1
    rest = "".join(found[number:])
    return f" {rest}" if rest else ""


RULES: tuple[tuple[re.Pattern[str], str | Callable[[Found], str]], ...] = (
    (URL, _url),
    (ASSIGNED_SECRET, _after("[secret]")),
    (SAID_SECRET, _after("[secret]")),
    (BEARER, _after("[secret]")),
    (GIVEN_SECRET, _after("[secret]")),
    (EMAIL, "[email]"),
    (KEY, "[key]"),
    (IBAN, _iban),
    (CARD, _card),
    (IP, _ip),
    (TOKEN, _token),
    (DIGITS, _digits),
    *((pattern, "[address]") for pattern in ADDRESSES),
    (SAID_NAME, _said_name),
    (LABELLED_NAME, _maybe_name),
    (SIGNED_NAME, _after("[name]")),
    (MAYBE_NAME, _maybe_name),
)
