"""E-mail: text always, HTML with its styles in the elements where there is a template for it."""

import smtplib
from email.policy import SMTP, EmailPolicy
from email.policy import default as default_policy
from pathlib import Path

import pytest
from anymail.exceptions import AnymailAPIError, AnymailInvalidAddress, AnymailRecipientsRefused, AnymailRequestsAPIError
from django.core.mail import EmailMultiAlternatives
from pytest_django import Settings

from komilion.common.mail import Extras, MailRefused, MailServerTrouble, MailTrouble, Picture, send_mail
from komilion.common.metrics import _counters
from komilion.env import free_port
from komilion.mail_url import mailers


@pytest.fixture
def templates(tmp_path: Path, settings: Settings) -> Path:
    """A folder for templates of e-mails, before the project's own."""
    engine = settings.TEMPLATES[0]
    settings.TEMPLATES = [{**engine, "DIRS": [tmp_path, *engine["DIRS"]]}]
    folder = tmp_path / "mail"
    folder.mkdir()
    return folder


@pytest.fixture
def sent(templates: Path, mailoutbox: list[EmailMultiAlternatives]) -> EmailMultiAlternatives:
    """A message with both kinds of body."""
    (templates / "hello.txt").write_text(
        "{% autoescape off %}Hello {{ name }}, see {{ public_url }}{% endautoescape %}\n\n"
    )
    (templates / "hello.html").write_text(
        '{% extends "mail/base.html" %}{% block content %}<p>Hello {{ name }}</p>'
        '<p><a class="button" href="{{ public_url }}/x">Go</a></p>{% endblock %}'
    )
    send_mail("hello", "alice@example.com", {"name": "A & B"}, subject="A greeting")
    return mailoutbox[0]


def html_of(message: EmailMultiAlternatives) -> str:
    return str(message.alternatives[0][0])


def test_the_text_is_plain(sent: EmailMultiAlternatives, settings: Settings):
    assert sent.to == ["alice@example.com"]
    assert sent.subject == "A greeting"
    assert sent.body == f"Hello A & B, see {settings.PUBLIC_URL}\n"


def test_the_html_escapes_and_brings_its_styles_in_its_elements(sent: EmailMultiAlternatives):
    html = html_of(sent)
    assert "Hello A &amp; B" in html
    assert '<a class="button"' in html
    assert "background-color: #0b654d" in html.partition('<a class="button"')[2].partition(">")[0]
    assert "prefers-color-scheme: dark" in html
    assert "<link" not in html
    assert "<h1" in html


def test_mails_are_counted_by_what_the_server_said(templates: Path, settings: Settings):
    def counted() -> list[int]:
        return [_counters["komilion_mails", (outcome,)] for outcome in ("sent", "failed")]

    (templates / "plain.txt").write_text("Only this.")
    sent, failed = counted()
    send_mail("plain", "alice@example.com", {}, subject="Plain")
    assert counted() == [sent + 1, failed]
    settings.MAILERS = mailers(f"smtp://127.0.0.1:{free_port()}", settings.DATA_DIR)
    with pytest.raises(Exception, match="refused"):
        send_mail("plain", "alice@example.com", {}, subject="Plain")
    assert counted() == [sent + 1, failed + 1]


def test_a_message_may_have_text_alone(templates: Path, mailoutbox: list[EmailMultiAlternatives]):
    (templates / "plain.txt").write_text("Only this.")
    send_mail("plain", "alice@example.com", {}, subject="Plain")
    assert mailoutbox[0].alternatives == []


def test_a_line_break_in_a_subject_begins_no_other_header(templates: Path, mailoutbox: list[EmailMultiAlternatives]):
    (templates / "plain.txt").write_text("Only this.")
    send_mail("plain", "alice@example.com", {}, subject="One\r\nBcc: eve@example.com")
    assert mailoutbox[0].subject == "One Bcc: eve@example.com"
    assert mailoutbox[0].recipients() == ["alice@example.com"]


def test_a_message_needs_its_text(templates: Path):
    from django.template import TemplateDoesNotExist

    with pytest.raises(TemplateDoesNotExist):
        send_mail("nothing-of-the-kind", "alice@example.com", {}, subject="None")


URL = f"https://komilion.example.com/letters/{'x' * 90}"


@pytest.fixture
def illustrated(templates: Path, mailoutbox: list[EmailMultiAlternatives]) -> EmailMultiAlternatives:
    """A message with a header of its own and a picture."""
    (templates / "chart.txt").write_text("A chart.")
    (templates / "chart.html").write_text('<p><img src="cid:chart@example.com" alt="A chart"></p>')
    headers = {"Message-ID": "<one@example.com>", "List-Unsubscribe": f"<{URL}>"}
    extras = Extras(headers, [Picture("chart@example.com", "chart.png", b"\x89PNG")])
    send_mail("chart", "alice@example.com", {}, subject="A chart", extras=extras)
    return mailoutbox[0]


def test_a_picture_comes_along_with_the_html_that_shows_it(illustrated: EmailMultiAlternatives):
    text, related = illustrated.message().iter_parts()
    assert (text.get_content_type(), related.get_content_type()) == ("text/plain", "multipart/related")
    html, picture = related.iter_parts()
    assert "cid:chart@example.com" in html.get_content()
    assert (picture["Content-ID"], picture.get_content_disposition()) == ("<chart@example.com>", "inline")
    assert picture.get_content() == b"\x89PNG"


def test_a_vendors_api_finds_the_picture_among_the_attachments(illustrated: EmailMultiAlternatives):
    illustrated.message()
    assert [picture["Content-ID"] for picture in illustrated.attachments] == ["<chart@example.com>"]


@pytest.mark.parametrize("policy", [SMTP, default_policy])
def test_a_header_with_a_long_address_stays_one_that_can_be_followed(
    illustrated: EmailMultiAlternatives, policy: EmailPolicy
):
    """Python would fold it into encoded words, in which no mail program looks for an address."""
    raw = illustrated.message(policy=policy).as_bytes().splitlines()
    assert f"List-Unsubscribe: <{URL}>".encode() in raw
    assert b"Message-ID: <one@example.com>" in raw


class Reply:
    """A vendor's HTTP response, as far as its error looks at it."""

    reason = text = ""


def answered(status: int) -> AnymailAPIError:
    """A vendor's refusal."""
    return AnymailAPIError(status_code=status, response=Reply())


@pytest.mark.parametrize(
    ("said", "is_of_the_server"),
    [
        (TimeoutError("timed out"), True),
        (ConnectionRefusedError(), True),
        (smtplib.SMTPServerDisconnected("gone"), True),
        (smtplib.SMTPAuthenticationError(535, b"no"), True),
        (AnymailRequestsAPIError("Error posting"), True),
        (answered(401), True),
        (answered(503), True),
        (answered(422), False),
        (smtplib.SMTPRecipientsRefused({}), False),
        (smtplib.SMTPDataError(554, b"no"), False),
        (AnymailRecipientsRefused(), False),
        (AnymailInvalidAddress("no address"), False),
        (ValueError("no header can hold this address"), False),
    ],
)
def test_trouble_says_whether_the_next_message_would_meet_it_too(
    templates: Path, monkeypatch: pytest.MonkeyPatch, said: Exception, *, is_of_the_server: bool
):
    def fail(_: object) -> int:
        raise said

    (templates / "plain.txt").write_text("Only this.")
    monkeypatch.setattr(EmailMultiAlternatives, "send", fail)
    with pytest.raises(MailTrouble) as caught:
        send_mail("plain", "alice@example.com", {}, subject="Plain")
    assert isinstance(caught.value, MailServerTrouble) is is_of_the_server


@pytest.mark.parametrize(
    ("said", "for_good"),
    [
        ((550, b"5.1.1 <alice@example.com>: no such user"), True),
        ((550, b"5.1.10 Recipient address has null MX"), True),
        ((550, b"5.2.1 The account is disabled"), True),
        ((550, b"no such user"), True),
        ((450, b"4.1.1 perhaps later"), False),
        ((450, b"busy"), False),
        ((550, b"5.7.1 Relaying denied"), False),
        ((552, b"5.2.2 Mailbox full"), False),
        ((550, b"5.1.8 the sender is unknown"), False),
        ((503, b"bad sequence"), False),
    ],
)
def test_only_what_says_that_there_is_no_mailbox_is_for_good(
    templates: Path, monkeypatch: pytest.MonkeyPatch, said: tuple[int, bytes], *, for_good: bool
):
    """Were a relay that refuses us taken for that, no address would get mail any more."""

    def fail(_: object) -> int:
        raise smtplib.SMTPRecipientsRefused({"alice@example.com": said})

    (templates / "plain.txt").write_text("Only this.")
    monkeypatch.setattr(EmailMultiAlternatives, "send", fail)
    with pytest.raises(MailTrouble) as caught:
        send_mail("plain", "alice@example.com", {}, subject="Plain")
    assert isinstance(caught.value, MailRefused) is for_good


def test_a_vendor_that_refuses_an_address_does_so_for_good(templates: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(_: object) -> int:
        raise AnymailRecipientsRefused

    (templates / "plain.txt").write_text("Only this.")
    monkeypatch.setattr(EmailMultiAlternatives, "send", fail)
    with pytest.raises(MailRefused):
        send_mail("plain", "alice@example.com", {}, subject="Plain")
