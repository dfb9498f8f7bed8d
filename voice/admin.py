"""What operators see of voice: what runs and what became of it, never what was said."""

from typing import Any, override

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse

from komilion.common.admin import ReadOnlyAdmin
from komilion.common.errors import KomilionError
from voice.actions.jobs import do_cancel_or_delete
from voice.actions.uploads import do_delete_upload
from voice.actions.webhooks import do_queue_again
from voice.models import JobPart, TranscriptionJob, Upload, WebhookDelivery, WebhookSecret
from voice.page_queries import host_of

OF_AN_ORGANIZATION = ("organization__name",)


class ActingAdmin(ReadOnlyAdmin):
    """Rows to which an operator may do one thing, after a question and with a line in the audit log, which the action
    writes where it changes them.
    """

    change_form_template = "operator/acting.html"
    label: str
    question: str

    def act(self, row: Any, actor: str) -> str:
        """Do it, by whom; what was done, as the audit log names it. Raises `KomilionError`."""
        raise NotImplementedError

    @property
    def _address(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_act"

    @override
    def get_urls(self) -> list[URLPattern]:
        """And the page that asks."""
        page = path("<path:pk>/act/", self.admin_site.admin_view(self.ask), name=self._address)
        return [page, *super().get_urls()]

    @override
    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **more: Any) -> Any:
        """With a link to it."""
        context |= {"act_address": f"admin:{self._address}", "act_label": self.label}
        return super().render_change_form(request, context, *args, **more)

    def ask(self, request: HttpRequest, pk: str) -> HttpResponse:
        """Ask, then act."""
        if not request.user.is_superuser:
            raise PermissionDenied
        row = get_object_or_404(self.model.objects.select_related("organization"), pk=pk)
        if request.method == "POST":
            try:
                done = self.act(row, f"operator {request.user.get_username()}")
            except KomilionError as error:
                messages.error(request, f"Nothing was done: {error.message}")
            else:
                messages.success(request, f"Done: {done}.")
            return HttpResponseRedirect(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"))
        context = {**self.admin_site.each_context(request), "row": row, "title": self.label, "question": self.question}
        return render(request, "operator/act.html", context)


@admin.register(Upload)
class UploadAdmin(ActingAdmin):
    """Files that wait for a transcription."""

    label, question = "Delete the upload", "The file is gone for everybody; not while a job reads it."

    list_display = ("key", "organization", "state", "received_bytes", "size_bytes", "created_at", "expires_at")
    list_filter = ("state",)
    list_select_related = ("organization",)
    search_fields = ("key", *OF_AN_ORGANIZATION)

    @override
    def act(self, row: Upload, actor: str) -> str:
        """Raises `Conflict`, `NotFound`."""
        do_delete_upload(row.organization_id, row.pk, operator=actor)
        return "upload.delete"


class JobPartInline(admin.TabularInline):  # type: ignore[type-arg]  # generic only in its stubs
    """What was asked of providers, and paid for."""

    model = JobPart
    extra = 0
    can_delete = False
    fields = readonly_fields = (
        *("number", "start_ms", "end_ms", "request_id", "offer", "usage", "is_settled", "charge_nano"),
    )


@admin.register(TranscriptionJob)
class TranscriptionJobAdmin(ActingAdmin):
    """Meetings in the background."""

    label = "Cancel or delete"
    question = "An open one is canceled. One that ended is deleted with its transcript and its recording."

    list_display = (
        *("id", "organization", "state", "progress", "duration_ms", "cost_nano"),
        *("error_reason", "starts", "lease_owner", "lease_ends_at", "created_at", "finished_at"),
    )
    list_filter = ("state",)
    list_select_related = ("organization",)
    search_fields = ("id", "error_reason", *OF_AN_ORGANIZATION)
    exclude = ("url_sealed", "webhook_url_sealed", "result_sealed")
    inlines = (JobPartInline,)

    @override
    def act(self, row: TranscriptionJob, actor: str) -> str:
        """Raises `Conflict`, `Unavailable`."""
        return "transcription.delete" if do_cancel_or_delete(row, operator=actor) else "transcription.cancel"


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
class WebhookDeliveryAdmin(ActingAdmin):
    """Messages that went out, with each try. Payloads name a job, not what was said."""

    label, question = "Send it again", "A message that was given up is tried once more."

    list_display = ("id", "organization", "host", "event", "state", "next_try_at", "created_at", "finished_at")
    list_filter = ("state",)
    list_select_related = ("organization",)
    search_fields = ("id", "job__id", *OF_AN_ORGANIZATION)
    exclude = ("url_sealed",)

    @admin.display(description="to")
    def host(self, row: WebhookDelivery) -> str:
        """Of the receiver: the rest of the address may hold a secret."""
        return host_of(row)

    @override
    def act(self, row: WebhookDelivery, actor: str) -> str:
        """Raises `Conflict`."""
        do_queue_again(row.organization_id, row.pk, operator=actor)
        return "webhook.send_again"
