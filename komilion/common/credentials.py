"""Where an API key may stand in a request, how it is read, and what it may hold; the same everywhere."""

CREDENTIAL_HEADERS = (b"authorization", b"x-api-key", b"x-litellm-api-key", b"api-key")
FITS_A_HEADER = "printable ASCII, without a control character such as a newline"


def bare_token(value: bytes) -> bytes:
    """The key in a credential header's value, with or without `Bearer` before it."""
    value = value.strip()
    return value[7:].strip() if value[:7].lower() == b"bearer " else value


def fits_a_header(key: str) -> bool:
    """Whether a key can be sent; one that cannot would make every call with it fail."""
    return key.isascii() and key.isprintable()
