"""`/dashboard/voice`: a spoken conversation in the browser. The page opens it itself, by a session token."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import Viewer
from komilion.web.guards import with_viewer
from komilion.web.permissions import may_hear

POLICIES = (
    ("premium", "Premium", "the best voice there is, whatever it costs"),
    ("balanced", "Balanced", "a good voice at a fair price"),
    ("frugal", "Frugal", "hears, thinks and speaks by separate models: slower, and the cheapest"),
)
FIRST_POLICY = "balanced"
VOICES = ("alloy", "ash", "ballad", "cedar", "coral", "echo", "marin", "sage", "shimmer", "verse")
INSTRUCTIONS_CHARACTERS = 20_000
# In the order in which they need each other; those that run beside the page, in the audio's own thread, are WORKLETS.
SCRIPTS = tuple(
    f"web/{name}.js"
    for name in (
        "playground/dom",
        "playground/session",
        "voice/words",
        "voice/levels",
        "voice/microphone",
        "voice/speaker",
        "voice/captions",
        "voice/conversation",
        "voice/talk",
    )
)
WORKLETS = {"capture": "web/voice/capture-worklet.js", "playback": "web/voice/playback-worklet.js"}


@require_safe
@with_viewer()
@never_cache
@may_hear
def show(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """The form and the place of the conversation. Opening the page starts nothing."""
    context = {
        "policies": POLICIES,
        "first_policy": FIRST_POLICY,
        "voices": VOICES,
        "instructions_characters": INSTRUCTIONS_CHARACTERS,
        "scripts": SCRIPTS,
        "worklets": WORKLETS,
    }
    return render(request, "voice/talk.html", context)
