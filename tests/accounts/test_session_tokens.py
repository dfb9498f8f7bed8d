"""Session tokens at the REST views that take them, which name the class for it; all others refuse them."""

from typing import Any, ClassVar

import pytest
from django.test import RequestFactory
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.access import Asker, access_viewer, ticket_of
from accounts.api.authentication import WITH_TOKENS
from accounts.api.base import Api
from accounts.session_tokens import make_token
from tests.people import Person, new_member, new_owner

pytestmark = pytest.mark.django_db


class RoutingView(Api):
    """As a view of routing is."""

    authentication_classes = WITH_TOKENS
    throttle_classes: ClassVar[list[Any]] = []

    def get(self, request: Request) -> Response:
        """Who asks."""
        asker: Asker = self.asker
        return Response({"organization": asker.organization_id, "name": asker.name, "may": asker.may_manage})


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


def token_of(person: Person) -> str:
    from accounts.models import User

    viewer = access_viewer(User.objects.get(email=person.email).pk, person.organization_id)
    assert viewer is not None
    return make_token(ticket_of(viewer))


def ask(credential: str, **headers: str) -> Any:
    sent = {"authorization": f"Bearer {credential}", **headers} if credential else headers
    request: Any = RequestFactory().get("/api/nothing", headers=sent)
    request.viewer = None
    response = RoutingView.as_view()(request)
    return response.render() if hasattr(response, "render") else response


def test_a_token_is_the_person(alice: Person):
    bob = new_member("bob@example.com", alice.organization_id, "developer")
    answer = ask(token_of(bob))
    assert answer.data == {"organization": alice.organization_id, "name": "bob@example.com", "may": True}


def test_a_key_is_taken_too(alice: Person):
    assert ask(alice.key().secret).data["organization"] == alice.organization_id


def test_nobody_gets_in_with_less(alice: Person):
    assert ask("").status_code == 401
    assert ask(token_of(alice)[:-1]).status_code == 401
    assert ask(token_of(alice), **{"x-api-key": alice.key().secret}).status_code == 401


def test_it_ends_with_the_epoch_and_says_when_nothing_goes(alice: Person):
    from accounts.actions.changes import raise_epoch
    from accounts.actions.organizations import do_suspend
    from accounts.models import Organization

    token = token_of(alice)
    raise_epoch(alice.organization_id)
    assert ask(token).status_code == 401
    token = token_of(alice)
    do_suspend(Organization.objects.get(pk=alice.organization_id), actor="test")
    assert ask(token).status_code == 403
