"""The public pages: what Komilion is, its models, its prices, its documents."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from billing.payments.mode import has_tax
from komilion.common.errors import NotFound
from komilion.common.money import NANO_PER_CENT, format_percent
from komilion.common.tiers import TIERS
from komilion.web.dashboard.words import POLICIES
from komilion.web.site import docs as documents
from komilion.web.site.caching import public_page
from komilion.web.site.examples import Example, example_model, first_request, worked_example
from komilion.web.site.figures import fee_percent
from komilion.web.site.search import ModelSearch, find_models, newest
from routing.catalog.resolve import ended
from routing.queries import CatalogRows, catalog_rows

MODELS_ON_THE_LANDING_PAGE = 6


@require_safe
@public_page
def landing(request: HttpRequest) -> HttpResponse:
    """What it is, in a sentence, a request and a bill."""
    rows = catalog_rows()
    model = example_model(rows)
    context = {
        **_terms(),
        "model": model,
        "example": worked_example(model),
        "tabs": first_request(settings.PUBLIC_URL, model.id if model else "vendor/model"),
        "models": newest(rows)[:MODELS_ON_THE_LANDING_PAGE],
        "model_count": len(rows.models),
    }
    return render(request, "site/landing.html", context)


@require_safe
@public_page
def models(request: HttpRequest) -> HttpResponse:
    """The catalogue, searched and sorted by the query string."""
    rows = catalog_rows()
    search = ModelSearch(rows, request.GET)
    context = {
        **_terms(),
        "search": search,
        "models": find_models(rows, search),
        "model_count": len(rows.models),
        "is_filtered": search.is_filtered,
        "voices": rows.voices,
    }
    return render(request, "site/models.html", context)


@require_safe
@public_page
def model(request: HttpRequest, model_id: str) -> HttpResponse:
    """One model: what it costs, who offers it, how to call it."""
    rows = catalog_rows()
    row = rows.models.get(model_id)
    if row is None:
        return _by_another_name(rows, model_id)
    example: Example | None = worked_example(row)
    context = {
        **_terms(),
        "model": row,
        "example": example,
        "tabs": first_request(settings.PUBLIC_URL, row.id),
    }
    return render(request, "site/model.html", context)


def _by_another_name(rows: CatalogRows, name: str) -> HttpResponse:
    """To the page of the model that is meant. Raises `NotFound`, which says what became of a known one."""
    known = rows.catalog.canonical(name)
    if known is None:
        raise NotFound(f"There is no model {name[:200]}.")
    if known in rows.models:
        return redirect("site:model", known)
    if known in rows.catalog.voice:
        return redirect(f"{reverse('site:models')}#voices")
    if known in rows.catalog.retired:
        raise NotFound(ended(rows.catalog, rows.catalog.retired[known]).message)
    raise NotFound(f"This installation does not serve {known}.")


@require_safe
@public_page
def pricing(request: HttpRequest) -> HttpResponse:
    """The fee, what is free, what comes back, how much one may ask for."""
    row = example_model(catalog_rows())
    context = {**_terms(), "model": row, "example": worked_example(row), "tiers": TIERS}
    return render(request, "site/pricing.html", context)


@require_safe
@public_page
def docs(request: HttpRequest, slug: str = documents.FIRST) -> HttpResponse:
    """One page of the documents."""
    page = documents.PAGES.get(slug)
    if page is None:
        raise NotFound("There is no such page in the documents.")
    row = example_model(catalog_rows())
    model_id = row.id if row else "vendor/model"
    body = documents.render_page(slug, documents.Figures(settings.PUBLIC_URL, model_id))
    return render(request, "site/docs.html", {"page": page, "pages": documents.PAGES.values(), "body": body})


@require_safe
def robots(request: HttpRequest) -> HttpResponse:
    """What search engines have no use for."""
    lines = [
        "User-agent: *",
        *(f"Disallow: {path}" for path in ("/auth/", "/dashboard", "/operator/", "/invitations/")),
    ]
    return HttpResponse("\n".join([*lines, ""]), content_type="text/plain")


def _terms() -> dict[str, object]:
    """The figures of our price, from the settings that charge them."""
    top_up_fee = settings.TOPUP_FEE_BASIS_POINTS
    return {
        "fee_percent": fee_percent(),
        "policies": POLICIES.items(),
        "trial_nano": settings.TRIAL_CREDIT_NANO,
        "trial_days": settings.TRIAL_DAYS,
        "top_up_minimum_nano": settings.TOPUP_MINIMUM_CENTS * NANO_PER_CENT,
        "top_up_fee_percent": format_percent(top_up_fee) if top_up_fee else "",
        "has_automatic_top_up": not has_tax(),
    }
