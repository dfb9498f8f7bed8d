"""What a vendor of mail tells later: bounces for good and complaints close an address, nothing else does."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from advisor.models import ClosedAddress
from komilion.common.logging import JsonFormatter
from komilion.mail_url import mailers, webhooks
from komilion.web.advice.mail_events import FOR_GOOD, VIEWS
from tests.people import Person

SECRET = "a-secret-of-at-least-32-characters"
SIGNING_KEY = "signing-key"
ALICE = "alice@example.com"
URLS = {"amazon_ses": "anymail+ses://", "mailjet": "anymail+mailjet://key?secret_key=other"}


def set_up(settings: Settings, vendor: str) -> None:
    settings.MAILERS = mailers(URLS.get(vendor, f"anymail+{vendor.replace('_', '-')}://key"), settings.DATA_DIR)
    settings.ANYMAIL = webhooks(settings.MAILERS, SECRET, SIGNING_KEY)


def login(secret: str = SECRET) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'komilion:{secret}'.encode()).decode()}"}


def post(body: Any, headers: dict[str, str] | None = None) -> int:
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(
        "/webhooks/mail", content, content_type="application/json", headers=login() if headers is None else headers
    )
    return answer.status_code


def resend(kind: str, to: str = ALICE, **more: Any) -> dict[str, Any]:
    return {"type": f"email.{kind}", "created_at": "2026-11-30T09:00:00Z", "data": {"to": [to], **more}}


def bounce(kind: str, to: str = ALICE) -> dict[str, Any]:
    said = {"message": "The recipient's email provider sent a bounce message", "type": kind, "subType": "General"}
    return resend("bounced", to, bounce=said)


def closed() -> dict[str, str]:
    return dict(ClosedAddress.objects.values_list("address", "why"))


@pytest.fixture
def by_resend(alice: Person, settings: Settings) -> None:
    set_up(settings, "resend")


@pytest.mark.usefixtures("by_resend")
def test_an_address_that_bounced_for_good_is_closed_whatever_its_case_and_often():
    for address in ("Alice@Example.com", ALICE):
        assert post(bounce("Permanent", address)) == 200
    assert closed() == {ALICE: "bounce"}


@pytest.mark.usefixtures("by_resend")
def test_who_complains_has_her_address_closed():
    assert post(resend("complained")) == 200
    assert closed() == {ALICE: "complaint"}


@pytest.mark.usefixtures("by_resend")
@pytest.mark.parametrize(
    "event",
    [
        *(bounce("Transient"), bounce("Undetermined"), resend("bounced")),
        *(resend("delivery_delayed"), resend("delivered"), resend("opened"), resend("invented")),
        {"type": "email.complained", "created_at": "", "data": {}},
    ],
)
def test_nothing_else_closes_an_address(event: dict[str, Any]):
    assert post(event) == 200
    assert closed() == {}


@pytest.mark.usefixtures("by_resend")
def test_nothing_is_kept_of_an_address_that_is_nobodys():
    assert post(bounce("Permanent", "nobody@example.com")) == 200
    assert closed() == {}


@pytest.mark.usefixtures("by_resend")
@pytest.mark.parametrize("headers", [{}, login("another-secret"), {"Authorization": f"Bearer {SECRET}"}])
def test_who_does_not_know_the_secret_closes_nothing(headers: dict[str, str]):
    assert post(resend("complained"), headers) == 400
    assert closed() == {}


def test_without_a_secret_nothing_is_heard(alice: Person, settings: Settings):
    settings.MAILERS = mailers("anymail+resend://key", settings.DATA_DIR)
    assert settings.ANYMAIL == {}
    assert post(resend("complained")) == 404
    assert closed() == {}


@pytest.mark.usefixtures("by_resend")
def test_another_vendor_than_the_one_that_sends_is_not_heard():
    for path in ("/webhooks/mail/brevo", "/webhooks/mail/resend/inbound/", "/anymail/brevo/tracking/"):
        assert Client().post(path, {}, headers=login()).status_code == 404


def signed_by_mailgun(event: dict[str, Any]) -> dict[str, Any]:
    proof = hmac.new(SIGNING_KEY.encode(), b"1764493200token", hashlib.sha256).hexdigest()
    return {"signature": {"token": "token", "timestamp": "1764493200", "signature": proof}, "event-data": event}


def of_ses(kind: str, **more: Any) -> dict[str, Any]:
    mail = {"messageId": "m", "timestamp": "2026-11-30T09:00:00Z", "destination": [ALICE], "headers": []}
    message = {"eventType": kind.capitalize(), kind: more, "mail": mail}
    return {"Type": "Notification", "MessageId": "id", "Message": json.dumps(message)}


TO_ALICE = [{"emailAddress": ALICE}]
EVENTS: dict[str, tuple[Any, Any]] = {  # vendor -> a bounce for good, and one of a full mailbox
    "amazon_ses": (
        of_ses("bounce", bounceType="Permanent", bounceSubType="General", bouncedRecipients=TO_ALICE),
        of_ses("bounce", bounceType="Transient", bounceSubType="MailboxFull", bouncedRecipients=TO_ALICE),
    ),
    "brevo": ({"event": "hard_bounce", "email": ALICE}, {"event": "soft_bounce", "email": ALICE}),
    "mailersend": tuple(
        {"type": f"activity.{kind}", "data": {"type": kind, "email": {"recipient": {"email": ALICE}}}}
        for kind in ("hard_bounced", "soft_bounced")
    ),
    "mailgun": tuple(
        signed_by_mailgun({"event": "failed", "severity": severity, "reason": "bounce", "recipient": ALICE})
        for severity in ("permanent", "temporary")
    ),
    "mailjet": tuple(
        {"event": "bounce", "email": ALICE, "time": 1764493200, "hard_bounce": is_hard, "error": "quota exceeded"}
        for is_hard in (True, False)
    ),
    "mailtrap": tuple(
        {"events": [{"event": kind, "email": ALICE, "timestamp": 1764493200, "message_id": "m", "event_id": "e"}]}
        for kind in ("bounce", "soft bounce")
    ),
    "mandrill": tuple({"event": kind, "msg": {"email": ALICE, "_id": "m"}} for kind in ("hard_bounce", "soft_bounce")),
    "postmark": tuple({"RecordType": "Bounce", "Type": kind, "Email": ALICE} for kind in ("HardBounce", "SoftBounce")),
    "resend": (bounce("Permanent"), bounce("Transient")),
    "sendgrid": tuple(
        [{"event": "bounce", "type": kind, "email": ALICE, "timestamp": 1764493200}] for kind in ("bounce", "blocked")
    ),
    "sparkpost": tuple(
        [{"msys": {"message_event": {"type": "bounce", "bounce_class": kind, "raw_rcpt_to": ALICE}}}]
        for kind in ("10", "22")
    ),
}


def sent_by(vendor: str, event: Any) -> int:
    """As the vendor posts it, with what proves that it is the vendor."""
    if vendor == "amazon_ses":
        return post(event, login() | {"x-amz-sns-message-type": "Notification", "x-amz-sns-message-id": "id"})
    if vendor == "mailersend":
        body = json.dumps(event).encode()
        proof = hmac.new(SIGNING_KEY.encode(), body, hashlib.sha256).hexdigest()
        return post(body, login() | {"Signature": proof})
    if vendor == "mandrill":
        return by_mandrill(event, SIGNING_KEY)
    return post(event)


def by_mandrill(event: Any, key: str) -> int:
    """A form, signed with the address to which it goes."""
    told = json.dumps([event])
    said = f"http://komilion:{SECRET}@testserver/webhooks/mailmandrill_events{told}".encode()
    proof = base64.b64encode(hmac.new(key.encode(), said, hashlib.sha1).digest()).decode()
    headers = login() | {"X-Mandrill-Signature": proof}
    return Client().post("/webhooks/mail", {"mandrill_events": told}, headers=headers).status_code


@pytest.mark.filterwarnings("ignore::anymail.exceptions.AnymailNotSupportedWarning")  # of SendGrid
@pytest.mark.parametrize("vendor", EVENTS)
def test_each_vendor_has_its_own_word_for_a_bounce_that_is_for_good(alice: Person, settings: Settings, vendor: str):
    set_up(settings, vendor)
    for_good, for_now = EVENTS[vendor]
    assert sent_by(vendor, for_now) == 200
    assert closed() == {}
    assert sent_by(vendor, for_good) == 200
    assert closed() == {ALICE: "bounce"}


def test_what_is_refused_leaves_no_secret_in_the_log(
    alice: Person, settings: Settings, caplog: pytest.LogCaptureFixture
):
    set_up(settings, "mandrill")
    assert by_mandrill(EVENTS["mandrill"][0], "another key") == 400
    assert SECRET in caplog.text
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert [line for line in lines if "incorrect signature" in line]
    assert [line for line in lines if SECRET in line] == []
    assert closed() == {}


def test_every_vendor_that_tells_is_known():
    assert set(VIEWS) == set(FOR_GOOD) == {*EVENTS, "unisender_go"}
