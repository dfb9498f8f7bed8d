"""The composition root of the web process: one wrapper around the gateway and Django alike.

It gives every request its id, answers CORS preflights, refuses what is too large or has no address, and renders every
error in the dialect of its path. Inference paths never see Django.
"""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "komilion.settings")
_django = get_asgi_application()

from komilion.envelope import Envelope
from routing.gateway.app import Gateway

gateway = Gateway()
application: Any = Envelope(gateway, _django)
