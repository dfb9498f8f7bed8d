"""Somebody in front of a browser: what she types, reads and finds in her mail."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import unescape
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from allauth.account.models import EmailAddress
from django.core import mail
from django.core.mail import EmailMessage
from django.http import HttpResponse
from django.test import Client
from django.test.client import ClientHandler

from accounts.models import User
from komilion.web.people.limits import TrialsHere
from komilion.web.tenants import do_ensure_tenant

PASSWORD = "correct horse battery"
LINK = re.compile(r"https?://\S+")
_numbers = count(1)
_handler = ClientHandler(enforce_csrf_checks=False)  # one for all: it looks for every static file when it is made


def new_email(name: str, domain: str = "example.com") -> str:
    """An address that no test used before; nothing is rolled back."""
    return f"{name}{next(_numbers)}@{domain}"


def new_ip() -> str:
    """A network address of one's own, so that nobody else's attempts count."""
    number = next(_numbers)
    return f"10.{number // 65_536 % 256}.{number // 256 % 256}.{number % 256}"


@dataclass
class Browser:
    """A browser with its cookies, at a network address of its own."""

    email: str = field(default_factory=lambda: new_email("alice"))
    password: str = PASSWORD
    ip: str = field(default_factory=new_ip)
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client = Client(REMOTE_ADDR=self.ip, headers=self.headers)
        self.client.handler = _handler

    def get(self, path: str, **options: Any) -> HttpResponse:
        """A page, redirects followed."""
        return self.client.get(path, follow=True, **options)

    def post(self, path: str, data: dict[str, Any] | None = None, **options: Any) -> HttpResponse:
        """A form sent, redirects followed."""
        return self.client.post(path, data or {}, follow=True, **options)

    def sign_up(self, **fields: str) -> HttpResponse:
        """Fill in the form of sign-up and send it."""
        return self.post("/auth/signup/", {"email": self.email, "password1": self.password, **fields})

    def log_in(self, **fields: str) -> HttpResponse:
        """Fill in the form of login and send it."""
        return self.post("/auth/login/", {"login": self.email, "password": self.password, **fields})

    def verify(self) -> HttpResponse:
        """Follow the newest link of a mail in this browser, and confirm."""
        path = path_of(self.link())
        assert self.get(path).status_code == 200
        return self.post(path)

    def join(self, **fields: str) -> "Browser":
        """Sign up and verify."""
        self.sign_up(**fields)
        assert says(self.verify()), "nothing came back"
        assert self.is_logged_in, "sign-up did not end logged in"
        return self

    def move_in(self) -> "Browser":
        """Be somebody who joined before, and log in: for tests about what comes later."""
        user = User.objects.create_user(self.email, self.password)
        EmailAddress.objects.create(user=user, email=self.email, verified=True, primary=True)
        do_ensure_tenant(user, TrialsHere(self.ip))
        answer = self.client.post("/auth/login/", {"login": self.email, "password": self.password})
        assert answer.url == "/dashboard", "login did not end logged in"
        return self

    def reauthenticate(self, path: str) -> HttpResponse:
        """Show the password before a page that asks for it again."""
        return self.post(f"/auth/reauthenticate/?next={path}", {"password": self.password, "next": path})

    @property
    def is_logged_in(self) -> bool:
        """Whether pages of one's own open."""
        return self.client.get("/dashboard/account/delete").status_code == 200

    def mails(self) -> Sequence[EmailMessage]:
        """What came to her address, the oldest first."""
        return [message for message in mail.outbox if message.to == [self.email]]

    def link(self) -> str:
        """The newest link of the newest mail that has one beyond the start page."""
        for message in reversed(self.mails()):
            links = [link for link in LINK.findall(message.body) if len(urlsplit(link).path) > 1]
            if links:
                return links[-1]
        raise AssertionError(f"no link was mailed to {self.email}")


def path_of(link: str) -> str:
    """What the test client takes of a link."""
    return urlsplit(link).path


def says(page: HttpResponse) -> str:
    """The words of a page, as they are read."""
    text = re.sub(r"<(script|style).*?</\1>", " ", page.content.decode(), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())
