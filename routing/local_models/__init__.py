"""The models that ship with Komilion, behind OpenAI's API in a process of their own.

To the gateway this is one more provider on a loopback port, so a fresh machine answers a real request with no key and
no network. `wire` reads requests and writes answers, `text` turns tokens into text, `engine` runs the model that
writes; `transcriptions` hears with `whisper`, `speech` lets the programs of `speaking` speak; `server` is the ASGI
application.
"""
