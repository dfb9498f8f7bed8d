"""Taking out of a prompt what tells who somebody is or opens something, so that what is left may be kept. Pure.

What is taken out is replaced by a word in brackets that says what it was, so the prompt can still be read. It is better
to take too much than too little: a date or an order number that looks like a telephone number goes too. What is left
may still tell who wrote it to somebody who knows them; that is why prompts are kept only where it was allowed.

Every pattern is bounded, so that no text takes longer than its length. Redacting twice is redacting once.
"""

import ipaddress
import re
from collections.abc import Callable

type Found = re.Match[str]

LEAST_NUMBER_DIGITS = 6
LEAST_PHONE_DIGITS = 7
LEAST_TOKEN_DIGITS = 2  # in a long run of letters and digits, to tell it from a long word
CARD_DIGITS = range(13, 20)  # ISO/IEC 7812: 13 to 19 with the check digit

URL = re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://)([^\s/?#@\[\]]{1,300}@)?([^\s?#]{0,2000})([?#]\S{0,5000})?", re.I)
SECRET = re.compile(
    r"(\b(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_ -]?key)[\"']?\s{0,3}[:=]\s{0,3})(\S{1,500})", re.I
)
EMAIL = re.compile(r"[^\s@<>()\[\],;:\"']{1,64}@[^\s@<>()\[\],;:\"']{1,190}")
KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:sk|pk|rk|gh[opsu]|github_pat|glpat|xox[abprs]|hf|AKIA|ASIA|AIza|ya29|eyJ)[-_.A-Za-z0-9]{10,5000}"
)
TOKEN = re.compile(r"[A-Za-z0-9+/_=-]{20,5000}")
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{1,4}){3,8}\b", re.I)
IP = re.compile(r"(?<![\w.:])[0-9A-Fa-f]{0,4}(?:[.:][0-9A-Fa-f]{0,4}){2,8}(?![\w:])")
DIGITS = re.compile(r"\+?[(]?\d(?:[ \t().\/-]{0,3}\d){5,40}")
NAME = r"([^\W\d_][\w'\u2019.-]{0,60}(?:[ \t]{1,5}[^\W\d_][\w'\u2019.-]{0,60}){0,3})"
SAID_NAME = re.compile(
    r"(\b(?:my name(?: is|['\u2019]s)|call me|i am called|ich heiße|je m['\u2019]appelle|me llamo|mi chiamo)[ \t]{1,5})"
    + NAME,
    re.I,
)
MAYBE_NAME = re.compile(
    r"(\b(?:i am|i['\u2019]m|this is|ich bin|je suis|soy|sono|regards,|sincerely,|grüßen,?|dear|hi|hello)\s{1,5})"
    + NAME,
    re.I,
)


def redact(text: str) -> str:
    """The text without addresses, numbers, secrets and names that it gives away."""
    before = None
    while before != text:  # what was taken out may have parted what now shows as something
        before = text
        for pattern, replace in RULES:
            text = pattern.sub(replace, text)
    return text


def _url(found: Found) -> str:
    """Scheme, host and path stay."""
    scheme, login, place, query = found.groups()
    return f"{scheme}{'[login]@' if login else ''}{place}{'?[query]' if query else ''}"


def _after(word: str) -> Callable[[Found], str]:
    return lambda found: f"{found[1]}{word}"


def _token(found: Found) -> str:
    """A long run of letters and digits is no word; one without digits is, or a path."""
    run = found[0]
    is_word = sum(character.isdigit() for character in run) < LEAST_TOKEN_DIGITS
    return run if is_word else "[token]"


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
    looks_dialled = found[0][0] in "+(0" or any(character in " ().-/" for character in found[0])
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
    words = found[2].split()
    return f"{found[1]}[name]{_after_name(found[2])}" if words[0][0].isupper() else found[0]


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
    (SECRET, _after("[secret]")),
    (EMAIL, "[email]"),
    (KEY, "[key]"),
    (IBAN, "[iban]"),
    (IP, _ip),
    (TOKEN, _token),
    (DIGITS, _digits),
    (SAID_NAME, _said_name),
    (MAYBE_NAME, _maybe_name),
)
