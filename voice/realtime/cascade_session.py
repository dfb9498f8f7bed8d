"""A cascade's session as OpenAI's is told: complete, with the defaults of whatever was not configured. Pure.

Source: `RealtimeSession` of the Realtime API (GA) and of the `openai` package, November 2026. There is no default
prompt, and `noise_reduction`, `truncation` and `idle_timeout_ms` have no effect.
"""

from copy import deepcopy
from typing import Any

from voice.realtime.conversation import merged

type Event = dict[str, Any]

PCM: Event = {"type": "audio/pcm", "rate": 24_000}
TURN_SWITCHES: Event = {"create_response": True, "interrupt_response": True}
DETECTIONS: dict[str, Event] = {
    "server_vad": {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        **TURN_SWITCHES,
    },
    "semantic_vad": {"type": "semantic_vad", "eagerness": "auto", **TURN_SWITCHES},
}
DEFAULTS: Event = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "instructions": "",
    "tools": [],
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "truncation": "auto",
    "tracing": None,
    "prompt": None,
    "include": None,
    "audio": {
        "input": {
            "format": PCM,
            "transcription": None,
            "noise_reduction": None,
            "turn_detection": DETECTIONS["server_vad"],
        },
        "output": {"format": PCM, "voice": "alloy", "speed": 1.0},
    },
}


def complete(config: Event) -> Event:
    """The GA `session` with every default that it leaves open."""
    session = merged(deepcopy(DEFAULTS), config)
    heard, spoken = session["audio"]["input"], session["audio"]["output"]
    if heard["turn_detection"] is not None:
        heard["turn_detection"] = {**DETECTIONS[heard["turn_detection"]["type"]], **heard["turn_detection"]}
    for side in (heard, spoken):
        if side["format"]["type"] == PCM["type"]:
            side["format"] = PCM
    return session
