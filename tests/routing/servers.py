"""A second server beside the stand's, in the same process: its own event loop, gateway, committer and limiter."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.handlers.asgi import ASGIHandler

from tests.waiting import wait_until


class SecondServer:
    """Runs until `stop`, which ends it as SIGTERM does."""

    def __init__(self) -> None:
        from komilion.asgi import endpoints
        from komilion.envelope import Envelope
        from komilion.uvicorn_worker import PatientServer, server_config
        from routing.gateway.app import Gateway
        from voice.realtime.sockets import serve_socket

        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.gateway = Gateway()
        application = Envelope(self.gateway, ASGIHandler(), endpoints, serve_socket)
        self._server = PatientServer(server_config(application))
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="second", daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started or not self._thread.is_alive(), what="the second server")
        assert self._server.started

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    def ask_to_stop(self) -> None:
        """As SIGTERM does; running calls have their grace."""
        self._server.should_exit = True

    def stop(self) -> None:
        """Ask, and wait for the end."""
        self.ask_to_stop()
        self._thread.join(20)
        assert not self._thread.is_alive()


@contextmanager
def second_server() -> Iterator[SecondServer]:
    """A server for one test."""
    server = SecondServer()
    try:
        yield server
    finally:
        server.stop()
