"""AWS Signature Version 4 as a judge of what boto3 signs: by query and by header.

Source: "Authenticating Requests (AWS Signature Version 4)" of the S3 API reference.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "s3"


@dataclass(frozen=True, slots=True)
class Signer:
    """Whose signature it is."""

    region: str
    key_id: str
    secret: str


def by_query(signer: Signer, method: str, target: str, headers: Mapping[str, str]) -> str | None:
    """The signature that a URL must have; None where it has none. `headers` by their names in small letters."""
    parts = urlsplit(target)
    values = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "X-Amz-Signature" not in values:
        return None
    names = values["X-Amz-SignedHeaders"]
    rest = {name: value for name, value in values.items() if name != "X-Amz-Signature"}
    canonical = _canonical(method, parts.path, _query(rest), headers, names, "UNSIGNED-PAYLOAD")
    return _signature(signer, values["X-Amz-Date"], canonical)


def by_header(signer: Signer, method: str, target: str, headers: Mapping[str, str]) -> str | None:
    """The signature that the `Authorization` must have."""
    names = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    parts = urlsplit(target)
    query = _query(dict(parse_qsl(parts.query, keep_blank_values=True)))
    canonical = _canonical(method, parts.path, query, headers, names, headers["x-amz-content-sha256"])
    return _signature(signer, headers["x-amz-date"], canonical)


def _canonical(method: str, path: str, query: str, headers: Mapping[str, str], names: str, payload: str) -> str:
    lines = "".join(f"{name}:{headers.get(name, '').strip()}\n" for name in names.split(";"))
    return "\n".join([method, path, query, lines, names, payload])


def _signature(signer: Signer, moment: str, canonical: str) -> str:
    scope = f"{moment[:8]}/{signer.region}/{SERVICE}/aws4_request"
    to_sign = "\n".join([ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    return hmac.new(_signing_key(signer, moment[:8]), to_sign.encode(), hashlib.sha256).hexdigest()


def _query(values: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(values.items()))


def _signing_key(signer: Signer, day: str) -> bytes:
    key = f"AWS4{signer.secret}".encode()
    for word in (day, signer.region, SERVICE, "aws4_request"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return key
