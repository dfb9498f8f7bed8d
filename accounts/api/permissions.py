"""Who may ask at all. What a key or a role may do beyond that is said by `Asker` and `Right`, where it is done."""

from typing import TYPE_CHECKING, override

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.access import Asker
from komilion.common.errors import Unauthenticated

if TYPE_CHECKING:  # the views import this module while they are imported themselves
    from rest_framework.views import APIView


class SomebodyAsks(BasePermission):
    """A key or a session is there."""

    @override
    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Raise `Unauthenticated` instead of a refusal, so that the answer is 401."""
        if not isinstance(request.user, Asker):
            raise Unauthenticated("Send an API key as `Authorization: Bearer ck_...`.")
        return True
