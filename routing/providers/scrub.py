"""Taking a provider's credential out of bytes that go to a client: an upstream may echo our request."""

MASK = b"***"
LEAST_SECRET_BYTES = 8


def scrub(data: bytes, secret: bytes) -> bytes:
    """`data` without any occurrence of `secret`, spelled plainly or as JSON with escaped slashes.

    A secret under 8 bytes is left alone: providers without keys are given ones like `none` or `x`, and
    masking such a word would spoil honest answers. When the secret does not occur, the very same object
    comes back.
    """
    if len(secret) < LEAST_SECRET_BYTES:
        return data
    data = data.replace(secret, MASK)
    if b"/" in secret:
        data = data.replace(secret.replace(b"/", b"\\/"), MASK)
    return data
