"""Voice: realtime conversations, speech in both directions, meetings. Chat models are reached through the gateway."""
