"""Tickets for uploads: what one says, what is refused, and whose it is."""

from datetime import datetime, timedelta

import pytest

from tests.fakes.client import call
from tests.stand import Gateway, Tenant
from tests.voice.uploads.sending import HELLO, UPLOAD, WAV, ask_ticket, bearer, files, request, send, state_of, ticket


def test_anonymous(gateway: Gateway):
    assert call(gateway.url, UPLOAD, None, {"filename": "a.wav", "contentType": WAV}).status == 401
    assert request(gateway, "PUT", "/api/voice/audio/aud_nonsense", b"x").status == 404
    assert request(gateway, "HEAD", "/api/voice/audio/").status == 404


def test_a_ticket_says_where_to_and_how(gateway: Gateway, alice: Tenant):
    answer = ask_ticket(gateway, alice, contentType="Audio/WebM; codecs=opus")
    body = answer.json
    assert answer.status == 201
    assert set(body) == {"uploadUrl", "audioKey", "expiresAt", "keptUntil", "maxBytes", "method", "headers"}
    assert body["maxBytes"] == 500_000_000
    assert body["headers"] == {"Content-Type": "audio/webm;codecs=opus"}
    assert body["audioKey"] in body["uploadUrl"]
    made = datetime.fromisoformat(state_of(gateway, alice, body).json["createdAt"])
    assert timedelta(hours=6, seconds=-1) <= datetime.fromisoformat(body["expiresAt"]) - made <= timedelta(hours=6)
    assert datetime.fromisoformat(body["keptUntil"]) - made == timedelta(days=1)


@pytest.mark.parametrize(
    "name",
    [
        "../secret.wav",
        "..",
        "a/b.wav",
        "a\\b.wav",
        "/etc/passwd",
        "",
        "  ",
        ".",
        "a\x00.wav",
        "a\u202egnp.wav",
        "x" * 201,
    ],
)
def test_a_filename_that_is_more_than_a_name_is_refused(gateway: Gateway, alice: Tenant, name: str):
    answer = ask_ticket(gateway, alice, filename=name)
    assert answer.status == 422
    assert answer.json["error"]["param"] == "filename"


def test_a_name_is_for_display_and_makes_no_path(gateway: Gateway, alice: Tenant):
    where = ticket(gateway, alice, filename="Besprechung \u00e4..b.wav")
    assert send(gateway, where, HELLO).status == 200
    assert state_of(gateway, alice, where).json["filename"] == "Besprechung \u00e4..b.wav"
    assert where["audioKey"] in files()


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("text/html", 415),
        ("application/pdf", 415),
        ("audio/x+xml", 415),
        ("video/svg+xml;charset=utf-8", 415),
        ("audio", 422),
        ("audio/x\r\nX: 1", 422),
        ("audio/" + "x" * 150, 422),
    ],
)
def test_a_content_type_that_is_no_sound_is_refused(gateway: Gateway, alice: Tenant, kind: str, status: int):
    answer = ask_ticket(gateway, alice, contentType=kind)
    assert answer.status == status
    assert answer.json["error"]["param"] == "contentType"


def test_a_size_beyond_the_limit_is_refused_at_once(gateway: Gateway, alice: Tenant):
    answer = ask_ticket(gateway, alice, size=500_000_001)
    assert answer.status == 413
    assert "500 MB" in answer.json["error"]["message"]


def test_an_organization_has_only_so_many(gateway: Gateway, settings):
    settings.VOICE_UPLOADS_PER_ORGANIZATION = 1
    tenant = gateway.tenant()
    ticket(gateway, tenant)
    assert ask_ticket(gateway, tenant).status == 409


def test_another_tenant_finds_nothing(gateway: Gateway, charlie: Tenant, where: dict):
    for method in ("GET", "DELETE"):
        answer = request(gateway, method, f"{UPLOAD}/{where['audioKey']}", headers=bearer(charlie))
        assert answer.status == 404


def test_a_key_that_nobody_made_is_not_found(gateway: Gateway, alice: Tenant):
    for key in ("aud_" + "x" * 32, "..", "aud_", "x" * 500):
        assert call(gateway.url, f"{UPLOAD}/{key}", alice.key).status == 404


@pytest.mark.parametrize("how", [lambda url: url[:-1] + ("A" if url[-1] != "A" else "B"), lambda url: url + "x"])
def test_a_signature_is_checked(gateway: Gateway, where: dict, how):
    assert send(gateway, {"uploadUrl": how(where["uploadUrl"])}, HELLO).status == 404


def test_a_signature_ends(gateway: Gateway, where: dict, settings):
    settings.VOICE_UPLOAD_URL_LIFETIME_S = -1
    answer = send(gateway, where, HELLO)
    assert answer.status == 403
    assert "over" in answer.json["error"]["message"]
