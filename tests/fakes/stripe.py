"""A tiny Stripe for what localstripe lacks: Checkout, disputes, idempotency keys, and failures on demand.

It keeps what it is sent and answers from that. A test puts an answer in the way (`answers`), lets a call happen without
telling (`swallows`), or looks at what came (`requests`).
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, override
from urllib.parse import parse_qsl, urlsplit

type Object = dict[str, Any]

LISTS = {"payment_intents", "refunds", "disputes", "checkout/sessions"}


@dataclass
class Request:
    """One that came."""

    method: str
    path: str
    form: dict[str, str]
    key: str  # idempotency


@dataclass
class FakeStripe:
    """The state; `url` is where it answers."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    objects: dict[str, Object] = field(default_factory=dict)  # by path, such as "payment_intents/pi_1"
    answers: dict[tuple[str, str], list[tuple[int, Object]]] = field(default_factory=dict)
    swallows: set[tuple[str, str]] = field(default_factory=set)
    _by_key: dict[str, tuple[dict[str, str], tuple[int, Object]]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def put(self, kind: str, **fields: Any) -> Object:
        """An object that is there, such as `put("payment_intents", id="pi_1", status="succeeded")`."""
        made = {"id": f"{kind[:2]}_{next(self._numbers)}", "metadata": {}, "created": 1, **fields}
        self.objects[f"{kind}/{made['id']}"] = made
        return made

    def answer(self, method: str, path: str, status: int, body: Object | None = None) -> None:
        """Answer the next such call with this, and do nothing."""
        self.answers.setdefault((method, path), []).append((status, body or {"error": {"message": f"HTTP {status}"}}))

    def decline(self, code: str, decline_code: str = "") -> None:
        """Have the next card declined."""
        error = {"type": "card_error", "code": code, "message": "no", "payment_intent": {"id": "pi_declined"}}
        self.answer("POST", "payment_intents", 402, {"error": error | {"decline_code": decline_code or None}})

    def sent(self, path: str) -> list[Request]:
        """The POSTs to a path."""
        return [request for request in self.requests if request.method == "POST" and request.path == path]

    def clear(self) -> None:
        """As new."""
        for kept in (self.requests, self.objects, self.answers, self.swallows, self._by_key):
            kept.clear()

    def serve(self, request: Request) -> tuple[int, Object] | None:
        """The answer; None hangs up."""
        self.requests.append(request)
        place = (request.method, request.path)
        if self.answers.get(place):
            return self.answers[place].pop(0)
        if request.key in self._by_key:
            form, answer = self._by_key[request.key]
            if form != request.form:
                return 400, {"error": {"type": "idempotency_error", "message": "other parameters"}}
            return answer
        answer = self._post(request) if request.method == "POST" else self._get(request)
        if request.key:
            self._by_key[request.key] = (request.form, answer)
        if place in self.swallows:
            self.swallows.remove(place)
            return None
        return answer

    def _post(self, request: Request) -> tuple[int, Object]:
        form = request.form
        metadata = {name[9:-1]: value for name, value in form.items() if name.startswith("metadata[")}
        fields: Object = {name: value for name, value in form.items() if "[" not in name}
        fields["metadata"] = metadata
        if "amount" in fields:
            fields["amount"] = int(fields["amount"])
        if request.path in {"checkout/sessions", "billing_portal/sessions"}:
            fields["url"] = f"https://stripe.example/{request.path}"
        if request.path == "payment_intents":
            fields |= {"status": "succeeded", "amount_received": fields["amount"], "livemode": False}
        if request.path == "refunds":
            fields |= {"status": "succeeded", "currency": "usd"}
        return 200, self.put(request.path, **fields)

    def _get(self, request: Request) -> tuple[int, Object]:
        if request.path in LISTS:
            rows = [row for path, row in self.objects.items() if path.rpartition("/")[0] == request.path]
            for name in ("payment_intent", "customer"):
                if name in request.form:
                    rows = [row for row in rows if row.get(name) == request.form[name]]
            after = request.form.get("starting_after")
            start = next((place + 1 for place, row in enumerate(rows) if row["id"] == after), 0)
            page = rows[start : start + 2]
            return 200, {"object": "list", "data": page, "has_more": start + 2 < len(rows), "url": "/v1/list"}
        found = self.objects.get(request.path)
        if found is None:
            return 404, {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No such"}}
        return 200, found


def _handler(fake: FakeStripe) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self, method: str, text: str) -> None:
            path = urlsplit(self.path).path.removeprefix("/v1/")
            request = Request(method, path, dict(parse_qsl(text)), self.headers.get("Idempotency-Key", ""))
            answer = fake.serve(request)
            if answer is None:
                self.connection.close()
                return
            body = json.dumps(answer[1]).encode()
            self.send_response(answer[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._serve("GET", urlsplit(self.path).query)

        def do_POST(self) -> None:
            self._serve("POST", self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())

        @override
        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: a test looks at `requests`."""

    return Handler


@contextmanager
def running_fake_stripe() -> Iterator[FakeStripe]:
    """One on a thread, at a free port on loopback."""
    fake = FakeStripe()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
