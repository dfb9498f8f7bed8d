"""Addresses of objects in S3 and its like, signed by query: AWS Signature Version 4, "Authenticating Requests: Using
Query Parameters". Pure.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "s3"


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where objects are, and who may sign for them. `endpoint` is the service's URL, without the bucket."""

    endpoint: str
    name: str
    region: str
    key_id: str
    secret: str

    def url_of(self, key: str) -> str:
        """The object's address, with the bucket in the path, which every service understands."""
        return f"{self.endpoint}/{quote(self.name)}/{quote(key)}"


def presign(
    bucket: Bucket, method: str, url: str, headers: Mapping[str, str], *, lifetime_s: int, now: datetime
) -> str:
    """The address with a signature in its query. Whoever uses it must send exactly these headers."""
    parts = urlsplit(url)
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{bucket.region}/{SERVICE}/aws4_request"
    signed = {"host": parts.netloc, **{name.lower(): value.strip() for name, value in headers.items()}}
    names = ";".join(sorted(signed))
    query = _query(
        {
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{bucket.key_id}/{scope}",
            "X-Amz-Date": moment,
            "X-Amz-Expires": str(lifetime_s),
            "X-Amz-SignedHeaders": names,
        }
    )
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    canonical = "\n".join([method, parts.path, query, lines, names, "UNSIGNED-PAYLOAD"])
    to_sign = "\n".join([ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signature = hmac.new(_signing_key(bucket, moment[:8]), to_sign.encode(), hashlib.sha256).hexdigest()
    return f"{url}?{query}&X-Amz-Signature={signature}"


def _query(values: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(values.items()))


def _signing_key(bucket: Bucket, day: str) -> bytes:
    key = f"AWS4{bucket.secret}".encode()
    for word in (day, bucket.region, SERVICE, "aws4_request"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return key
