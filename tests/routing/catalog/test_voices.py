"""Models that hear or speak, from the catalogue to whoever asks for one."""

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from komilion.common.errors import ModelNotServed, UnknownModel
from komilion.common.usage import Usage
from routing.catalog.load import read_catalog
from routing.catalog.resolve import resolve, resolve_voice
from tests.routing.catalog.conftest import Shipped

EVERYTHING = ("OPENAI_API_KEY", "DEEPGRAM_API_KEY", "MISTRAL_API_KEY")


def ids(models: list[Any]) -> list[str]:
    return [model.id for model in models]


def test_without_a_key_there_is_what_runs_on_the_machine(shipped: Shipped) -> None:
    catalog = shipped(keys=())
    assert ids(catalog.voices("transcription")) == ["local/whisper-tiny.en"]
    assert ids(catalog.voices("speech")) == ["local/espeak"]
    assert catalog.voices("realtime") == []


@pytest.mark.django_db
def test_what_speaks_is_offered_where_its_program_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def speaks(*programs: str) -> list[str]:
        monkeypatch.setattr("routing.local_models.speaking.installed", lambda: list(programs))
        call_command("catalog_seed", verbosity=0)
        return ids(read_catalog().voices("speech"))

    assert speaks() == []
    assert speaks("espeak", "piper") == ["local/espeak", "local/piper"]
    assert speaks("piper") == ["local/piper"]
    call_command("model", "disable", "local/piper", "--provider", "local", verbosity=0)
    assert speaks() == []
    assert speaks("espeak", "piper") == ["local/espeak"]


def test_a_key_switches_a_makers_models_on(shipped: Shipped) -> None:
    catalog = shipped(keys=EVERYTHING)
    assert "openai/gpt-realtime-2.1" in ids(catalog.voices("realtime"))
    assert {"deepgram/aura", "deepgram/aura-2", "openai/tts-1"} <= set(ids(catalog.voices("speech")))
    nova = catalog.voice["deepgram/nova-3"]
    assert (nova.kind, nova.offers[0].dialect, nova.offers[0].provider) == ("transcription", "deepgram", "deepgram")
    assert nova.offers[0].target.base_url == "https://api.deepgram.com/v1"
    assert next(row.models for row in catalog.providers if row.name == "deepgram") == 8


def test_they_are_no_models_for_chat(shipped: Shipped) -> None:
    catalog = shipped(keys=EVERYTHING)
    assert not set(catalog.models) & set(catalog.voice)
    with pytest.raises(UnknownModel, match="openai/whisper-1 turns speech into text; it is no model for chat"):
        resolve(catalog, "whisper-1")


@pytest.mark.parametrize("name", ["openai/whisper-1", "whisper-1", "Whisper-1", "openai/whisper_1"])
def test_a_name_means_one_as_it_does_for_chat(shipped: Shipped, name: str) -> None:
    assert resolve_voice(shipped(keys=EVERYTHING), name, "transcription").id == "openai/whisper-1"


def test_what_cannot_be_called_says_why(shipped: Shipped) -> None:
    catalog = shipped(keys=EVERYTHING)
    with pytest.raises(UnknownModel, match=r"openai/tts-1 is no model that turns speech into text"):
        resolve_voice(catalog, "tts-1", "transcription")
    with pytest.raises(UnknownModel, match=r"local/smollm2-135m-instruct is no model that speaks a text"):
        resolve_voice(catalog, "local/smollm2-135m-instruct", "speech")
    with pytest.raises(UnknownModel, match=r"no model 'whispr-1'. Did you mean openai/whisper-1"):
        resolve_voice(catalog, "whispr-1", "transcription")
    with pytest.raises(ModelNotServed, match="no key for a provider of openai/whisper-1"):
        resolve_voice(shipped(keys=()), "whisper-1", "transcription")


def test_what_has_ended_is_not_there(shipped: Shipped) -> None:
    late = shipped(datetime(2027, 3, 1, tzinfo=UTC), keys=EVERYTHING)
    assert "openai/whisper-1" not in late.voice
    assert "openai/whisper-1" not in late.off
    assert "openai/gpt-transcribe" in late.voice


def test_a_minute_costs_what_the_list_says_and_our_fee(shipped: Shipped) -> None:
    price = shipped(keys=EVERYTHING).voice["deepgram/nova-3"].offers[0].price
    charge = price.charge(Usage(audio_ms=60_000))
    assert (charge.cost, charge.fee) == (4_300_200, 1_075_050)  # 60 s x $0.00007167


@pytest.mark.django_db
class TestOperators:
    """`model add --kind`."""

    def add(self, *arguments: str) -> str:
        output = StringIO()
        call_command("model", "add", *arguments, stdout=output)
        return output.getvalue()

    @pytest.fixture(autouse=True)
    def provider(self) -> None:
        for dialect in ("openai", "deepgram"):
            call_command(
                "provider",
                "add",
                dialect,
                "--base-url",
                "http://127.0.0.1:1/v1",
                "--dialect",
                dialect,
                "--api-key",
                "k",
            )

    def test_one_that_hears(self) -> None:
        self.add("acme/ear", "--provider", "deepgram", "--kind", "transcription", "--second-price", "0.0001")
        model = resolve_voice(read_catalog(), "acme/ear", "transcription")
        assert model.offers[0].price.components == {"audio_ms": 100_000_000}
        assert model.offers[0].target.capabilities == frozenset()

    def test_one_that_speaks(self) -> None:
        self.add("acme/mouth", "--provider", "openai", "--kind", "speech", "--character-price", "15")
        assert read_catalog().voice["acme/mouth"].offers[0].price.components == {"characters": 15_000_000_000}

    def test_one_that_talks_needs_each_price(self) -> None:
        prices = ["--input-price", "1", "--output-price", "1", "--audio-input-price", "1"]
        with pytest.raises(CommandError, match="needs a price for input and input_audio and output and output_audio"):
            self.add("acme/talks", "--provider", "openai", "--kind", "realtime", *prices)
        self.add("acme/talks", "--provider", "openai", "--kind", "realtime", *prices, "--audio-output-price", "1")
        assert read_catalog().voice["acme/talks"].kind == "realtime"

    @pytest.mark.parametrize("price", ["much", "-1", "NaN"])
    def test_a_price_per_second_that_is_none(self, price: str) -> None:
        with pytest.raises(CommandError, match="price"):
            self.add("acme/ear", "--provider", "openai", "--kind", "transcription", f"--second-price={price}")

    def test_a_kind_stays_what_it_is(self) -> None:
        self.add("acme/mouth", "--provider", "openai", "--kind", "speech", "--character-price", "15")
        with pytest.raises(CommandError, match="is of kind speech, and stays so"):
            self.add("acme/mouth", "--provider", "openai", "--kind", "realtime")

    def test_a_provider_without_chat_has_no_models_for_it(self) -> None:
        with pytest.raises(CommandError, match="speaks deepgram, which has no chat"):
            self.add("acme/large", "--provider", "deepgram", "--input-price", "1", "--output-price", "1")

    def test_a_provider_that_lost_its_chat_offers_none(self) -> None:
        self.add("acme/large", "--provider", "openai", "--input-price", "1", "--output-price", "1")
        assert "acme/large" in read_catalog().models
        call_command("provider", "add", "openai", "--dialect", "deepgram")
        assert "acme/large" not in read_catalog().models

    def test_disabled_is_not_there(self) -> None:
        self.add("acme/ear", "--provider", "deepgram", "--kind", "transcription", "--second-price", "0.0001")
        call_command("model", "disable", "acme/ear")
        with pytest.raises(ModelNotServed, match="not served here at present"):
            resolve_voice(read_catalog(), "acme/ear", "transcription")
