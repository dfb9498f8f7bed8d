"""What operators see of the advisor: what was said and sent and what became of it, never what a prompt says."""

from typing import Any, override

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path

from advisor.models import (
    Advice,
    Alert,
    ClosedAddress,
    DayEvidence,
    Digest,
    Effect,
    EvaluationCase,
    EvidenceDay,
    Letter,
    MailWishes,
    PromptSample,
    SampleChoice,
    Upgrade,
    UsedLink,
)
from advisor.monitoring import weeks_counted
from advisor.week_report import report_of
from komilion.common.admin import CompositeKeyAdmin, ReadOnlyAdmin, show

OF_AN_ORGANIZATION = ("organization__name",)


@admin.register(Digest)
class DigestAdmin(ReadOnlyAdmin):
    """What was found each week; `weeks/` sums it up."""

    change_list_template = "operator/digests.html"
    list_display = ("week", "organization", "is_silent", "created_at")
    list_filter = ("is_silent",)
    list_select_related = ("organization",)
    search_fields = ("week", *OF_AN_ORGANIZATION)

    @override
    def get_urls(self) -> list[URLPattern]:
        """And the page of the last weeks."""
        page = path("weeks/", self.admin_site.admin_view(self.weeks), name="advisor_digest_weeks")
        return [page, *super().get_urls()]

    def weeks(self, request: HttpRequest) -> HttpResponse:
        """The digest of digests: the last weeks over all organizations."""
        reports = [report_of(week) for week in weeks_counted()]
        context: dict[str, Any] = {**self.admin_site.each_context(request), "title": "Weeks", "reports": reports}
        return render(request, "operator/advisor_weeks.html", context)


@admin.register(Letter)
class LetterAdmin(ReadOnlyAdmin):
    """Letters, with how often each was tried and what the mail server said."""

    list_display = ("message_id", "digest", "alert", "user", "state", "tries", "error", "leased_until", "sent_at")
    list_filter = ("state",)
    list_select_related = ("digest__organization", "alert__organization", "user")
    search_fields = ("message_id", "error", "user__email", "digest__week")


class EffectInline(admin.TabularInline):  # type: ignore[type-arg]  # generic only in its stubs
    """What it brought."""

    model = Effect
    extra = 0
    can_delete = False
    fields = readonly_fields = ("week", "requests", "actual_nano", "without_nano", "low_nano", "high_nano", "signals")


@admin.register(Advice)
class AdviceAdmin(ReadOnlyAdmin):
    """What organizations were told."""

    list_display = (
        *("week", "organization", "rank", "kind", "subject", "task", "model"),
        *("saving_low_nano", "saving_mid_nano", "saving_high_nano", "confidence", "state", "state_at"),
    )
    list_filter = ("kind", "state")
    list_select_related = ("organization",)
    search_fields = ("week", "subject", "model", *OF_AN_ORGANIZATION)
    inlines = (EffectInline,)


@admin.register(Effect)
class EffectAdmin(ReadOnlyAdmin):
    """What accepted advice brought, week by week."""

    list_display = ("advice", "week", "requests", "actual_nano", "without_nano", "low_nano", "high_nano")
    list_select_related = ("advice",)
    search_fields = ("week", "advice__model", "advice__organization__name")


@admin.register(Upgrade)
class UpgradeAdmin(ReadOnlyAdmin):
    """Pins on their way to newer models."""

    list_display = (
        *("organization", "task", "old_model", "new_model", "state", "share_basis_points"),
        *("reason", "step_at", "created_at", "ended_at"),
    )
    list_filter = ("state",)
    list_select_related = ("organization",)
    search_fields = ("old_model", "new_model", *OF_AN_ORGANIZATION)


@admin.register(EvidenceDay)
class EvidenceDayAdmin(ReadOnlyAdmin):
    """Days that were added up."""

    list_display = ("day", "calls", "built_at")
    ordering = ("-day",)


@admin.register(ClosedAddress)
class ClosedAddressAdmin(ReadOnlyAdmin):
    """Addresses that take no letters; `manage.py advisor open-address` opens one again."""

    list_display = ("address", "why", "closed_at")
    list_filter = ("why",)
    search_fields = ("address",)


@admin.register(MailWishes)
class MailWishesAdmin(ReadOnlyAdmin):
    """How often members want to hear."""

    list_display = ("membership", "often", "wants_alerts")
    list_filter = ("often",)
    list_select_related = ("membership__organization", "membership__user")
    search_fields = ("membership__user__email", "membership__organization__name")


@admin.register(UsedLink)
class UsedLinkAdmin(ReadOnlyAdmin):
    """Links that did what they are for."""

    list_display = ("nonce", "used_at", "last_day")
    search_fields = ("nonce",)


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """Models in trouble, as members were told of them at once."""

    list_display = ("organization", "kind", "model", "created_at", "expires_at")
    list_filter = ("kind",)
    list_select_related = ("organization",)
    search_fields = ("model", *OF_AN_ORGANIZATION)


@admin.register(SampleChoice)
class SampleChoiceAdmin(ReadOnlyAdmin):
    """Who lets prompts be kept."""

    list_display = ("organization", "is_allowed", "chosen_by", "chosen_at")
    list_filter = ("is_allowed",)
    list_select_related = ("organization",)
    search_fields = OF_AN_ORGANIZATION


@admin.register(PromptSample)
class PromptSampleAdmin(ReadOnlyAdmin):
    """That a prompt is kept, not what it says."""

    list_display = ("organization", "task", "request_id", "created_at")
    list_select_related = ("organization",)
    search_fields = ("request_id", *OF_AN_ORGANIZATION)
    exclude = ("text",)


@admin.register(EvaluationCase)
class EvaluationCaseAdmin(ReadOnlyAdmin):
    """Cases by their names."""

    list_display = ("name", "organization", "task", "check_kind", "created_by", "created_at")
    list_filter = ("check_kind",)
    list_select_related = ("organization",)
    search_fields = ("name", *OF_AN_ORGANIZATION)
    exclude = ("prompt", "expected")


class DayEvidenceAdmin(CompositeKeyAdmin):
    """Sums of calls by day."""

    list_display = ("day", "organization_id", "task", "model", "way", "policy", "requests", "failed", "charge_nano")
    list_filter = ("way",)
    search_fields = ("=organization_id", "model")


show(DayEvidence, DayEvidenceAdmin)
