"""What operators see of voice: what runs and what became of it, never what was said."""

from django.contrib import admin

from komilion.common.admin import ReadOnlyAdmin
from voice.models import JobPart, TranscriptionJob, Upload, WebhookDelivery, WebhookSecret

OF_AN_ORGANIZATION = ("organization__name",)


@admin.register(Upload)
class UploadAdmin(ReadOnlyAdmin):
    """Files that wait for a transcription."""

    list_display = ("key", "organization", "state", "received_bytes", "size_bytes", "created_at", "expires_at")
    list_filter = ("state",)
    list_select_related = ("organization",)
    search_fields = ("key", *OF_AN_ORGANIZATION)


class JobPartInline(admin.TabularInline):  # type: ignore[type-arg]  # generic only in its stubs
    """What was asked of providers, and paid for."""

    model = JobPart
    extra = 0
    can_delete = False
    fields = readonly_fields = (
        *("number", "start_ms", "end_ms", "request_id", "offer", "usage", "is_settled", "charge_nano"),
    )


@admin.register(TranscriptionJob)
class TranscriptionJobAdmin(ReadOnlyAdmin):
    """Meetings in the background."""

    list_display = (
        *("id", "organization", "state", "progress", "duration_ms", "cost_nano"),
        *("error_reason", "starts", "lease_owner", "lease_ends_at", "created_at", "finished_at"),
    )
    list_filter = ("state",)
    list_select_related = ("organization",)
    search_fields = ("id", "error_reason", *OF_AN_ORGANIZATION)
    exclude = ("url_sealed", "webhook_url_sealed", "result_sealed")
    inlines = (JobPartInline,)


@admin.register(JobPart)
class JobPartAdmin(ReadOnlyAdmin):
    """Found by the request id of its call."""

    list_display = ("request_id", "job", "number", "is_settled", "charge_nano")
    search_fields = ("request_id", "job__id")
    exclude = ("answer_sealed",)


@admin.register(WebhookSecret)
class WebhookSecretAdmin(ReadOnlyAdmin):
    """Who has one, and since when."""

    list_display = ("organization", "made_at", "previous_ends_at")
    list_select_related = ("organization",)
    search_fields = OF_AN_ORGANIZATION
    exclude = ("secret_sealed", "previous_sealed")


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    """Messages that went out, with each try. Payloads name a job, not what was said."""

    list_display = ("id", "organization", "event", "state", "next_try_at", "created_at", "finished_at")
    list_filter = ("state",)
    list_select_related = ("organization",)
    search_fields = ("id", "job__id", *OF_AN_ORGANIZATION)
    exclude = ("url_sealed",)
