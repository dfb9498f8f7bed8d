"""Which model hears or speaks where a request names one, and where it does not."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from accounts.access import Caller
from billing.prices import PriceVersion
from komilion.common.errors import BadRequest, ModelNotAllowed, ModelNotServed, UnknownModel
from komilion.common.usage import Usage
from routing.catalog.snapshot import Catalog
from routing.catalog.voice import VoiceModel, VoiceOffer
from routing.providers.base import Target
from voice.speech.choice import Wanted, choose, choose_now, same_units

MINUTE = Usage(audio_ms=60_000)
CALLER = Caller(1, 1, 1, 1, 1, "free", {}, {}, None, is_suspended=False, expires_at_unix_s=None)


def model(
    name: str, price: int, *capabilities: str, dialect: str = "openai", kind: Any = "transcription"
) -> VoiceModel:
    target = Target("http://127.0.0.1/v1", "", name, frozenset(capabilities))
    offer = VoiceOffer(name, "acme", dialect, target, PriceVersion(1, {"audio_ms": price}, (), 2_500))
    return VoiceModel(name, name, kind, 0, (offer,))


def chosen(models: list[VoiceModel], wanted: Wanted, allowed: frozenset[str] | None = None) -> str:
    catalog = Catalog(1, {}, (), voice={each.id: each for each in models})
    caller = replace(CALLER, models_allowed=allowed)
    return choose(wanted, catalog, caller, lambda _: MINUTE).model.id


ANY = Wanted("transcription", "")
LOCAL, CHEAP, DEAR = model("local/tiny", 1, "word_timestamps"), model("acme/cheap", 50), model("acme/dear", 90)


def test_the_cheapest_is_taken() -> None:
    assert chosen([DEAR, CHEAP], ANY) == "acme/cheap"


def test_this_machine_hears_only_where_nobody_else_does() -> None:
    assert chosen([LOCAL, DEAR], ANY) == "acme/dear"
    assert chosen([LOCAL], ANY) == "local/tiny"


def test_where_no_model_is_named_the_next_ones_may_take_over() -> None:
    models = [DEAR, CHEAP, LOCAL, model("acme/dearer", 190), model("acme/dearest", 290)]
    catalog = Catalog(1, {}, (), voice={each.id: each for each in models})
    found = choose(ANY, catalog, CALLER, lambda _: MINUTE)
    assert [offer.model_id for offer in found.others] == ["acme/dear", "acme/dearer"]
    assert choose(Wanted("transcription", "acme/dear"), catalog, CALLER, lambda _: MINUTE).others == ()


def test_of_two_at_one_price_the_newer_is_taken() -> None:
    assert chosen([model("deepgram/nova-2", 5), model("deepgram/nova-3", 5)], ANY) == "deepgram/nova-3"


def test_one_that_cannot_do_it_is_passed_over() -> None:
    able = model("acme/able", 500, "diarization")
    assert chosen([CHEAP, able], Wanted("transcription", "", (frozenset({"diarization"}),))) == "acme/able"
    assert chosen([CHEAP, LOCAL], Wanted("transcription", "", (frozenset({"word_timestamps"}),))) == "local/tiny"


@pytest.mark.parametrize("name", ["nova-3", "deepgram/nova-3"])
def test_deepgrams_own_name_finds_the_model_under_another_name(name: str) -> None:
    theirs, others = model("nova-3", 5, dialect="deepgram"), model("nova-3", 1)
    named = [replace(theirs, id="house/ear"), replace(others, id="acme/ear")]
    assert chosen(named, Wanted("transcription", name)) == "house/ear"
    with pytest.raises(UnknownModel):
        chosen(named, Wanted("speech", name))
    with pytest.raises(UnknownModel):
        chosen(named[1:], Wanted("transcription", name))


@pytest.mark.parametrize(("voice", "name"), [("thalia", "aura-2"), ("zeus", "aura"), ("alloy", "aura")])
def test_without_a_model_one_that_has_the_voice_speaks(voice: str, name: str) -> None:
    auras = [model(each, price, dialect="deepgram", kind="speech") for each, price in (("aura", 50), ("aura-2", 90))]
    assert chosen(auras, Wanted("speech", "", voice=voice)) == name
    with pytest.raises(BadRequest, match="No model here has the voice 'thalia'"):
        chosen(auras[:1], Wanted("speech", "", voice="thalia"))


def test_one_of_the_dialect_that_is_spoken_comes_first() -> None:
    nova = model("deepgram/nova-3", 500, dialect="deepgram")
    assert chosen([CHEAP, nova, LOCAL], Wanted("transcription", "", dialect="deepgram")) == "deepgram/nova-3"
    assert chosen([CHEAP, LOCAL], Wanted("transcription", "", dialect="deepgram")) == "acme/cheap"


def test_what_a_key_may_not_call_is_passed_over() -> None:
    assert chosen([CHEAP, DEAR], ANY, frozenset({"acme/dear"})) == "acme/dear"


@pytest.mark.parametrize("models", [[], [model("acme/voice", 1, kind="speech")]])
def test_where_there_is_none_it_is_said(models: list[VoiceModel]) -> None:
    with pytest.raises(ModelNotServed):
        chosen(models, ANY)


def test_a_model_that_is_named_is_taken_whatever_it_costs() -> None:
    assert chosen([CHEAP, DEAR], Wanted("transcription", "acme/dear")) == "acme/dear"


@pytest.mark.parametrize(
    ("wanted", "allowed", "error"),
    [
        (Wanted("transcription", "acme/none"), None, UnknownModel),
        (Wanted("speech", "acme/dear"), None, UnknownModel),
        (Wanted("transcription", "acme/dear"), frozenset({"acme/cheap"}), ModelNotAllowed),
        (Wanted("transcription", "acme/dear", (frozenset({"translation"}),)), None, BadRequest),
    ],
)
def test_one_that_is_named_and_cannot_be_taken_is_told_why(
    wanted: Wanted, allowed: frozenset[str] | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        chosen([CHEAP, DEAR], wanted, allowed)


class Stale:
    """Services whose catalogue is behind the database."""

    def __init__(self, now: Catalog, then: Catalog) -> None:
        self._catalogs = now, then
        self.looked = 0

    async def current_catalog(self, version: int) -> Catalog:
        return self._catalogs[0]

    async def fresh_catalog(self) -> Catalog:
        self.looked += 1
        return self._catalogs[1]


def test_what_is_not_known_yet_is_looked_for_in_the_database_first() -> None:
    caller = Caller(1, 1, 1, 1, 1, "free", {}, {}, None, is_suspended=False, expires_at_unix_s=None)
    old, new = (Catalog(1, {}, (), voice={each.id: each for each in models}) for models in ([], [CHEAP]))

    def chosen_by(services: Any, name: str) -> str:
        wanted = Wanted("transcription", name)
        return asyncio.run(choose_now(wanted, services, 1, caller, lambda _: MINUTE)).model.id

    behind = Stale(old, new)
    assert chosen_by(behind, "acme/cheap") == chosen_by(behind, "") == "acme/cheap"
    assert behind.looked == 2
    up_to_date = Stale(new, new)
    assert chosen_by(up_to_date, "acme/cheap") == "acme/cheap"
    assert up_to_date.looked == 0
    for services, name in ((up_to_date, "acme/dear"), (behind, "acme/dear")):
        with pytest.raises(UnknownModel):
            chosen_by(services, name)


def test_one_hold_is_for_offers_that_are_paid_by_the_same() -> None:
    by_time = DEAR.offers[0]
    tokens = PriceVersion(2, {"input_audio": 1, "output": 1}, (), 2_500)
    by_tokens = VoiceOffer("acme/dear", "other", "openai", by_time.target, tokens)
    assert same_units([by_time, by_tokens], MINUTE) == (by_time,)
    assert same_units([by_time, by_tokens], Usage(input_audio=1)) == (by_tokens,)
