"""The composition root of the web process: one wrapper around the gateway and Django alike.

It gives every request its id, answers CORS preflights, refuses what is too large or has no address, and renders every
error in the dialect of its path. Inference paths and WebSockets never see Django.
"""

import os
from functools import partial
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "komilion.settings")
_django = get_asgi_application()

from django.conf import settings

from advisor.sampling import Sampler
from komilion.envelope import Envelope
from komilion.only_here import OnlyHere
from routing.gateway.app import Gateway
from routing.gateway.endpoints import ENDPOINTS, EndpointTable
from routing.gateway.services import build_services
from voice.endpoints import VOICE_ENDPOINTS
from voice.realtime.sockets import serve_socket

gateway = Gateway(partial(build_services, (Sampler().hear,)))
endpoints = EndpointTable((*ENDPOINTS, *VOICE_ENDPOINTS))
application: Any = Envelope(gateway, _django, endpoints, serve_socket)
if settings.TEST_PAYMENTS:
    application = OnlyHere(application)
