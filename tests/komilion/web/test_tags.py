"""What templates say in one word."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from django import forms
from django.template import Context, Engine
from django.test import RequestFactory
from django.utils import timezone as zones

from accounts.access import Viewer
from accounts.models import Role
from komilion.common.clock import utc_now
from komilion.web.templatetags.komilion import number, usd, when


def show(template: str, **context: object) -> str:
    """The template with this context, as a page would have it."""
    return Engine.get_default().from_string(template).render(Context(context))


@pytest.mark.parametrize(
    ("nano", "shown", "exact"),
    [
        (12_345_678_901, "$12.34", "$12.345678901"),
        (12_344_999_999, "$12.34", "$12.344999999"),
        (29_999_950_000, "$29.99", "$29.99995"),
        (999_999_999, "$0.99", "$0.999999999"),
        (1_234_567_890_000_000, "$1,234,567.89", "$1234567.89"),
        (99_999_999, "$0.099999999", "$0.099999999"),
        (100_000_000, "$0.10", "$0.10"),
        (5_375, "$0.000005375", "$0.000005375"),
        (0, "$0.00", "$0.00"),
        (-2_500_000_000, "-$2.50", "-$2.50"),
        (-12_349_000_000, "-$12.34", "-$12.349"),
        (-5_375, "-$0.000005375", "-$0.000005375"),
        (9_007_199_254_740_993 * 10, "$90,071,992.54", "$90071992.54740993"),
    ],
)
def test_money_is_cut_to_read_and_exact_to_check(nano: int, shown: str, exact: str):
    assert show("{% money nano %}", nano=nano) == f'<span class="money" title="{exact}">{shown}</span>'


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (29_999_950_000, "$29.99995"),
        (1_234_500_000_001, "$1,234.500000001"),
        (10_000_000_000, "$10.00"),
        (-1, "-$0.000000001"),
    ],
)
def test_money_can_be_shown_whole(nano: int, shown: str):
    assert f">{shown}<" in show("{% money nano exact=True %}", nano=nano)


def test_money_that_is_not_known_is_a_dash():
    assert show("{% money nano %}", nano=None) == "-"


@pytest.mark.parametrize(("nano", "shown"), [(3_750_000_000, "$3.75"), (-1, "-$0.000000001"), (None, "-")])
def test_prices_lose_no_digit(nano: int | None, shown: str):
    assert usd(nano) == shown


def test_a_moment_is_in_the_zone_of_who_looks():
    moment = datetime(2020, 3, 1, 23, 30, tzinfo=UTC)
    with zones.override(timezone(timedelta(hours=2), "EET")):
        shown = when(moment)
    assert ">Mar 2 2020, 01:30<" in shown
    assert 'title="2020-03-02 01:30:00 EET"' in shown
    assert 'datetime="2020-03-01T23:30:00+00:00"' in shown


def test_a_moment_that_is_kept_has_its_year_and_zone():
    now = utc_now()
    assert f">{now:%b} {now.day} {now.year}, {now:%H:%M} UTC<" in when(now, whole=True)


def test_a_moment_of_this_year_needs_no_year():
    now = utc_now()
    assert f"{now.year}," not in when(now).partition(">")[2]
    assert when(None) == "-"


def test_numbers_are_grouped():
    assert (number(1_234_567), number(0), number(None)) == ("1,234,567", "0", "-")


RIGHTS_AS_SIGNS = (
    '{% if v|may:"keys" %}k{% endif %}{% if v|may:"wallet" %}w{% endif %}{% if v|may:"members" %}m{% endif %}'
    '{% if v|may:"audit" %}a{% endif %}'
)


@pytest.mark.parametrize(
    ("role", "rights", "while_suspended"),
    [(Role.OWNER, "kwma", "a"), (Role.DEVELOPER, "k", ""), (Role.BILLING, "w", ""), (Role.VIEWER, "", "")],
)
def test_pages_offer_what_the_role_may_and_no_change_while_the_organization_is_suspended(
    role: Role, rights: str, while_suspended: str
):
    viewer = Viewer(1, "alice@example.com", "UTC", 1, 1, "Alice's", role, "free", is_suspended=False)
    assert show(RIGHTS_AS_SIGNS, v=viewer) == rights
    assert show(RIGHTS_AS_SIGNS, v=replace(viewer, is_suspended=True)) == while_suspended
    assert show(RIGHTS_AS_SIGNS, v=None) == ""


@pytest.mark.parametrize(
    ("path", "exact", "marked"),
    [
        ("/dashboard/keys", False, True),
        ("/dashboard/keys/7", False, True),
        ("/dashboard/keyring", False, False),
        ("/dashboard/keys/7", True, False),
        ("/dashboard/keys", True, True),
    ],
)
def test_a_link_knows_whether_one_is_there(path: str, exact: bool, marked: bool):
    template = '{% current "/dashboard/keys" exact=exact %}'
    shown = show(template, request=RequestFactory().get(path), exact=exact)
    assert shown == (' aria-current="page"' if marked else "")
    assert show(template, exact=exact) == ""  # an error page has no request


class Form(forms.Form):
    """Some fields."""

    name = forms.CharField(help_text="Only you see it.")
    note = forms.CharField(required=False)
    agreed = forms.BooleanField()
    kind = forms.ChoiceField(choices=[("a", "One")], widget=forms.RadioSelect)


FIELD = '{% include "components/field.html" with field=form.FIELD %}'


def test_a_field_is_tied_to_its_help_and_its_errors():
    shown = show(FIELD.replace("FIELD", "name"), form=Form({}))
    assert 'aria-describedby="id_name_helptext id_name_error"' in shown
    assert 'id="id_name_helptext"' in shown
    assert 'id="id_name_error"' in shown
    assert 'aria-invalid="true"' in shown
    assert '<label for="id_name">' in shown


def test_a_field_without_help_and_errors_is_described_by_nothing():
    shown = show(FIELD.replace("FIELD", "note"), form=Form())
    assert "aria-describedby" not in shown
    assert "(optional)" in shown


def test_boxes_and_choices_are_labelled():
    box = show(FIELD.replace("FIELD", "agreed"), form=Form())
    assert box.index("<input") < box.index("<label")
    choices = show(FIELD.replace("FIELD", "kind"), form=Form({}))
    assert "<fieldset" in choices
    assert "<legend>Kind</legend>" in choices
    assert 'id="id_kind_error"' in choices


def test_text_is_escaped_everywhere():
    evil = "<script>alert(1)</script>"
    for part in ("badge", "notice", "stat", "empty", "code", "copy"):
        template = f'{{% include "components/{part}.html" with text=evil title=evil label=evil value=evil kind=evil %}}'
        assert "<script" not in show(template, evil=evil)
