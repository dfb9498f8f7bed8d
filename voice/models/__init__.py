"""Uploads of audio, transcription jobs, and the webhooks that tell of them."""

from voice.models.job import JobPart, JobState, TranscriptionJob
from voice.models.upload import Upload, UploadState
from voice.models.webhook import DeliveryState, WebhookDelivery, WebhookSecret

__all__ = [
    "DeliveryState",
    "JobPart",
    "JobState",
    "TranscriptionJob",
    "Upload",
    "UploadState",
    "WebhookDelivery",
    "WebhookSecret",
]
