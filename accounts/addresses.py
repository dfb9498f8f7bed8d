"""E-mail addresses: which of them reach the same mailbox, and which are not taken."""

from collections.abc import Mapping

from disposable_email_domains import blocklist

NOT_PLAIN = "Use an address of plain letters, digits and signs, without quotation marks and brackets."

# Domains of one mail service each, where a name has one mailbox at all of them; the first one stands for all. Then what
# becomes of a name, because the service reads over some signs (Gmail, Proton) or takes two for one (Yandex).
MAIL_SERVICES: tuple[tuple[tuple[str, ...], Mapping[int, int | str | None]], ...] = (
    (("gmail.com", "googlemail.com"), str.maketrans("", "", ".")),
    (("proton.me", "protonmail.com", "protonmail.ch", "pm.me"), str.maketrans("", "", "._-")),
    (
        ("yandex.ru", "ya.ru", "yandex.com", "yandex.by", "yandex.kz", "yandex.ua", "yandex.uz", "yandex.com.tr"),
        str.maketrans(".", "-"),
    ),
    (("icloud.com", "me.com", "mac.com"), {}),
)
SERVICE_OF = {domain: (domains[0], signs) for domains, signs in MAIL_SERVICES for domain in domains}


def is_plain(email: str) -> bool:
    """Whether the name before the `@` is unquoted ASCII, and a domain follows it instead of a network address.

    `"bob"@example.com` and `"b\\ob"@example.com` are bob's mailbox in as many spellings as he likes, and nobody's real
    address is written so.
    """
    name, _, domain = email.strip().rpartition("@")
    return name.isascii() and not {'"', "\\"} & set(name) and not domain.startswith("[")


def normalise_address(email: str) -> str:
    """One spelling of all that reach the same mailbox: lower case, without `+tag`, and as its mail service reads it."""
    name, _, domain = email.strip().lower().rpartition("@")
    name = name.partition("+")[0] or name
    domain = _ascii(domain)
    service, signs = SERVICE_OF.get(domain, (domain, {}))
    return f"{name.translate(signs)}@{service}"


def is_disposable(email: str) -> bool:
    """Whether the address is one of those made for a few minutes; subdomains of their domains count too."""
    labels = _ascii(email.strip().lower().rpartition("@")[2]).split(".")
    return any(".".join(labels[start:]) in blocklist for start in range(len(labels) - 1))


def _ascii(domain: str) -> str:
    try:
        return domain.rstrip(".").encode("idna").decode()
    except UnicodeError:
        return domain
