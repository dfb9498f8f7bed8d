"""What operators see of the catalogue; it changes by commands, whose effect every process hears of."""

from django.contrib import admin

from komilion.common.admin import ReadOnlyAdmin
from routing.catalog.models import CatalogVersion, Model, Offer, OfferPrice, Provider
from routing.playground.models import PlaygroundShare
from routing.selection.models import Feedback, Market, Pin, RoutingPreferences


class OfferInline(admin.TabularInline):  # type: ignore[type-arg]  # generic only in its stubs
    """Where a model is offered."""

    model = Offer
    extra = 0
    can_delete = False
    fields = readonly_fields = (
        "provider",
        "upstream_id",
        "context_length",
        "max_output",
        "capabilities",
        "is_disabled",
    )


@admin.register(Provider)
class ProviderAdmin(ReadOnlyAdmin):
    """Upstream APIs, without their credentials."""

    list_display = ("name", "dialect", "base_url", "api_key_env", "cancel_stops_billing", "is_disabled")
    exclude = ("api_key_encrypted",)


@admin.register(Model)
class ModelAdmin(ReadOnlyAdmin):
    """Models and their offers."""

    list_display = ("id", "name", "line", "released_on", "sunset_on", "successor", "is_disabled")
    search_fields = ("id", "name")
    inlines = (OfferInline,)


@admin.register(Offer)
class OfferAdmin(ReadOnlyAdmin):
    """Models at providers."""

    list_display = ("id", "model", "provider", "upstream_id", "context_length", "max_output", "is_disabled")
    list_select_related = ("model", "provider")
    search_fields = ("model__id", "upstream_id")


@admin.register(CatalogVersion)
class CatalogVersionAdmin(ReadOnlyAdmin):
    """How often the catalogue was changed."""


@admin.register(OfferPrice)
class OfferPriceAdmin(ReadOnlyAdmin):
    """What an offer cost from when on."""

    list_display = ("offer", "price", "when")
    list_select_related = ("offer", "price")
    date_hierarchy = "effective_from"


@admin.register(Pin)
class PinAdmin(ReadOnlyAdmin):
    """Which model answers which task type, by organization."""

    list_display = ("organization_id", "task", "model", "source", "set_by", "created_at")
    list_filter = ("task", "source")
    search_fields = ("model",)


@admin.register(RoutingPreferences)
class RoutingPreferencesAdmin(ReadOnlyAdmin):
    """Switches of organizations."""

    list_display = ("organization_id", "follows_successors")


@admin.register(Feedback)
class FeedbackAdmin(ReadOnlyAdmin):
    """What was thought of answers."""

    list_display = ("request_id", "organization_id", "score", "task", "policy", "model", "created_at")
    list_filter = ("task", "policy")
    search_fields = ("request_id", "model")


@admin.register(Market)
class MarketAdmin(ReadOnlyAdmin):
    """What there was to choose from."""

    list_display = ("fingerprint", "created_at")


@admin.register(PlaygroundShare)
class PlaygroundShareAdmin(ReadOnlyAdmin):
    """Who shared runs of the playground, without what they say."""

    list_display = ("id", "organization", "author", "created_at")
    list_select_related = ("organization", "author")
    exclude = ("title_sealed", "content_sealed")
