"""What operators see of the advisor: figures for `/metrics`, and the digest of digests."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Model
from django.test import Client

from accounts.models import User
from advisor.models import Advice, DayEvidence, Digest, EvaluationCase, EvidenceDay, Letter, PromptSample
from advisor.monitoring import advisor_counts, advisor_state
from komilion.common.clock import utc_now
from tests.advisor.effects import calls, noted
from tests.advisor.letters.delivering import CHEAPER, DOLLAR, made, week_now
from tests.people import Person, new_owner

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(
        User.objects.create_superuser("operator@example.com"), backend="django.contrib.auth.backends.ModelBackend"
    )
    return client


def counts(name: str) -> dict[tuple[str, ...], float]:
    return dict(advisor_counts()[name][2])


def test_metrics_count_advice_and_letters_by_what_became_of_them(alice: Person):
    made(alice, week_now())
    assert counts("advisor_advice") == {("cheaper", "open"): 1.0}
    assert counts("advisor_letters") == {("digest", "waiting"): 1.0}
    Letter.objects.update(state="failed")
    Advice.objects.update(state="accepted")
    assert counts("advisor_advice") == {("cheaper", "accepted"): 1.0}
    assert counts("advisor_letters") == {("digest", "failed"): 1.0}
    assert advisor_state()["advisor_digests_this_week"][1] == 1


def test_what_is_older_than_four_weeks_is_not_counted(alice: Person):
    made(alice, "2020-W01")
    assert counts("advisor_advice") == counts("advisor_letters") == {}


def test_metrics_say_how_old_the_evidence_is():
    assert advisor_state()["advisor_evidence_age_seconds"][1] == 0
    for days in (3, 2):
        EvidenceDay.objects.create(day=utc_now().date() - timedelta(days=days), built_at=utc_now(), calls=1)
    assert advisor_state()["advisor_evidence_age_seconds"][1] == 2 * 86_400


def test_the_digest_of_digests_sums_a_week_up(alice: Person, operator: Client):
    made(alice, week_now())
    made(new_owner("bea@example.com"), week_now(), [])
    Letter.objects.update(state="failed", error="550 no such user")
    advice = Advice.objects.get()
    Advice.objects.update(state="accepted")
    noted(advice, week_now(), cost=DOLLAR, saved=7 * DOLLAR)
    shown = " ".join(operator.get("/operator/advisor/digest/weeks/").content.decode().split())
    for said in ("2 organizations were looked at; for 1 of them", "1 failed", "550 no such user", "$7.00", "$34.00"):
        assert said in shown, said
    assert "/operator/advisor/digest/weeks/" in operator.get("/operator/advisor/digest/").content.decode()
    assert Client().get("/operator/advisor/digest/weeks/").status_code == 302
    assert alice.browser.get("/operator/advisor/digest/weeks/").status_code in {302, 403}


@pytest.mark.parametrize("model", [Digest, Advice])
def test_what_is_asked_for_by_its_week_has_an_index_for_that(model: type[Model]):
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, model._meta.db_table)
    assert "week" in {found["columns"][0] for found in constraints.values() if found["index"] or found["unique"]}


def test_operators_read_no_prompt(alice: Person, operator: Client):
    PromptSample.objects.create(
        organization_id=alice.organization_id, task="writing", request_id="r", text="quiet-words", created_at=utc_now()
    )
    EvaluationCase.objects.create(
        organization_id=alice.organization_id,
        task="writing",
        name="greets",
        prompt="quiet-words",
        check_kind="contains",
        expected="quiet-words",
        created_by=alice.email,
        created_at=utc_now(),
    )
    for row in (PromptSample.objects.get(), EvaluationCase.objects.get()):
        name = row._meta.model_name
        for address in (f"/operator/advisor/{name}/", f"/operator/advisor/{name}/{row.pk}/change/"):
            answer = operator.get(address)
            assert answer.status_code == 200
            assert "quiet-words" not in answer.content.decode()


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        ("promptsample", "text__startswith"),
        ("promptsample", "text"),
        ("evaluationcase", "prompt__contains"),
        ("evaluationcase", "expected__regex"),
    ],
)
def test_operators_cannot_guess_a_prompt_by_filtering(operator: Client, model: str, lookup: str):
    assert operator.get(f"/operator/advisor/{model}/?{lookup}=q").status_code == 400
    assert operator.get(f"/operator/advisor/{model}/?task=writing").status_code == 200


def test_a_row_of_evidence_has_a_page(alice: Person, operator: Client):
    calls(alice, utc_now().date())
    answer = operator.get("/operator/advisor/dayevidence/")
    link = answer.context["cl"].url_for_result(DayEvidence.objects.get())
    assert "acme/mini" in operator.get(link).content.decode()


def test_advice_shows_its_effects(alice: Person, operator: Client):
    made(alice, week_now(), [CHEAPER])
    advice = Advice.objects.get()
    noted(advice, "2026-W40")
    assert "2026-W40" in operator.get(f"/operator/advisor/advice/{advice.pk}/change/").content.decode()
