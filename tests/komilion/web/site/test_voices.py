"""Models that hear or speak on the public pages."""

import pytest
from django.core.management import call_command
from django.test import Client

PRICES = {
    "transcription": ["--second-price", "0.0001"],
    "speech": ["--character-price", "15"],
}


@pytest.mark.django_db
class TestModels:
    @pytest.fixture(autouse=True)
    def voices(self) -> None:
        call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:1/v1", "--api-key", "k")
        for kind, price in PRICES.items():
            call_command("model", "add", f"acme/{kind}", "--provider", "acme", "--kind", kind, *price)

    def test_what_they_do_and_cost_is_on_the_page(self, client: Client) -> None:
        page = client.get("/models").content.decode()
        assert "turns speech into text" in page
        assert "$0.0075" in page  # a minute, with our fee
        assert "Characters spoken $18.75" in page
        assert page.index("acme/transcription") < page.index("acme/speech")

    def test_the_address_of_one_leads_there(self, client: Client) -> None:
        answer = client.get("/models/acme/speech")
        assert (answer.status_code, answer.headers["Location"]) == (302, "/models#voices")


@pytest.mark.django_db
def test_without_any_there_is_no_such_part(client: Client) -> None:
    assert "To hear and to speak" not in client.get("/models").content.decode()
