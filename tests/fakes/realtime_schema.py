"""Which events, fields and parts the stand-in for a realtime provider knows."""

KNOWN = {
    "session.update": {"session"},
    "input_audio_buffer.append": {"audio"},
    "input_audio_buffer.commit": set(),
    "input_audio_buffer.clear": set(),
    "conversation.item.create": {"item", "previous_item_id"},
    "conversation.item.retrieve": {"item_id"},
    "conversation.item.truncate": {"item_id", "content_index", "audio_end_ms"},
    "conversation.item.delete": {"item_id"},
    "response.create": {"response"},
    "response.cancel": {"response_id"},
}
SESSION_FIELDS = {
    *("type", "instructions", "output_modalities", "tools", "tool_choice", "parallel_tool_calls", "max_output_tokens"),
    *("audio", "include", "truncation", "reasoning"),
}
PARTS = {
    "user": {"input_text", "input_audio", "input_image"},
    "assistant": {"output_text", "output_audio"},
    "system": {"input_text"},
}
