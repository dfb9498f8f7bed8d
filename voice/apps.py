from django.apps import AppConfig


class VoiceConfig(AppConfig):
    """Spoken conversations, transcripts and speech."""

    name = "voice"
