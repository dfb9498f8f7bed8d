"""Where an API key may stand in a request, and how it is read; the same for the gateway and the REST API."""

CREDENTIAL_HEADERS = (b"authorization", b"x-api-key", b"x-litellm-api-key", b"api-key")


def bare_token(value: bytes) -> bytes:
    """The key in a credential header's value, with or without `Bearer` before it."""
    value = value.strip()
    return value[7:].strip() if value[:7].lower() == b"bearer " else value
