"""localstripe, a fake Stripe that nobody here wrote: a program beside ours, at a free port, keeping nothing.

It is under the GPL, so it is installed in an environment of its own (`make` does it) and never imported. It knows
customers, cards, PaymentIntents, refunds and signed webhooks; it has neither Checkout nor disputes.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.services.valkey import _die_with_parent
from tests.waiting import wait_until

PROGRAM = Path(__file__).parents[2] / ".venv" / "localstripe" / "bin" / "localstripe"
STATE = Path("/tmp/localstripe.pickle")  # where it writes whatever it is told; never read with --from-scratch
KEY = "sk_test_localstripe_0123456789"
START_DEADLINE_S = 20
GOOD_CARD = "4242424242424242"
DECLINED_CARD = "4000000000000341"
CARD_WITH_3DS = "4000002500003155"


class LocalStripe:
    """A running one."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, method: str, path: str, **form: Any) -> dict[str, Any]:
        """What Stripe's own page, or its portal, would do."""
        answer = httpx.request(method, f"{self.url}/v1/{path}", data=form or None, auth=(KEY, ""), trust_env=False)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def add_card(self, customer_id: str, number: str) -> str:
        """A card that the customer chooses as the default one."""
        card = {"card[number]": number, "card[exp_month]": "1", "card[exp_year]": "2031", "card[cvc]": "123"}
        method = str(self.ask("POST", "payment_methods", type="card", **card)["id"])
        self.ask("POST", f"payment_methods/{method}/attach", customer=customer_id)
        self.ask("POST", f"customers/{customer_id}", **{"invoice_settings[default_payment_method]": method})
        return method

    def send_events_to(self, url: str, secret: str) -> None:
        """Deliver every event, signed."""
        hook = {"url": url, "secret": secret}
        httpx.post(f"{self.url}/_config/webhooks/tests", data=hook, trust_env=False).raise_for_status()

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/v1/customers", auth=(KEY, ""), trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def localstripe(tmp_path: Path) -> Iterator[LocalStripe]:
    """An empty one, for one test."""
    from komilion.env import free_port

    assert PROGRAM.exists(), "localstripe is not installed: make .venv/localstripe/.installed"
    had_state = STATE.exists()
    port = free_port()
    with (tmp_path / "localstripe.log").open("wb") as log:
        process = subprocess.Popen(
            [str(PROGRAM), "--port", str(port), "--from-scratch"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, safe beside threads
        )
    running = LocalStripe(f"http://127.0.0.1:{port}")
    try:
        wait_until(running.answers, START_DEADLINE_S, f"localstripe, see {tmp_path / 'localstripe.log'}")
        yield running
    finally:
        process.kill()
        process.wait()
        if not had_state:
            STATE.unlink(missing_ok=True)
