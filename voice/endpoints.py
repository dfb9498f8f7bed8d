"""Voice's rows of the endpoint table; see `routing.gateway.endpoints`."""

from routing.gateway.endpoints import Endpoint

VOICE_ENDPOINTS: tuple[Endpoint, ...] = ()
