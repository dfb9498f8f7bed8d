"""Spoken conversations over a WebSocket, in the shape of OpenAI's Realtime API."""
