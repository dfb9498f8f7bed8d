"""Stripe's API as far as we use it. Dictionaries come back as Stripe sent them; `objects` reads them.

Every POST carries an idempotency key that is made from a row of ours, so asking again never does it again. Retries are
the callers': they know what a second try may mean. No proxy, no `.netrc`: only what the settings name.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import stripe
from django.conf import settings

from billing.models import PayingCustomer, Refund, TopUpOrder

LIST_LIMIT = 100

type Object = dict[str, Any]


class StripeUnavailable(Exception):
    """No answer, or one that says "later": whether it happened is unknown. Same key again, or look it up."""


class StripeRefused(Exception):
    """Stripe understood and will not do it, now or later."""


class CardDeclined(StripeRefused):
    """The card's bank said no, or wants its holder. `code` is Stripe's `decline_code`, else its `code`."""

    def __init__(self, message: str, code: str, intent_id: str) -> None:
        super().__init__(message)
        self.code = code
        self.intent_id = intent_id


class _Direct(stripe.RequestsClient):
    """Ignores proxies and logins that stand in the environment; follows no redirect with our key in its hand."""

    def __init__(self) -> None:
        super().__init__(timeout=(settings.STRIPE_CONNECT_TIMEOUT_S, settings.STRIPE_TIMEOUT_S))
        session = self.requests.Session()
        session.trust_env = False
        session.max_redirects = 0
        self._session = session


@lru_cache(maxsize=4)
def _client(key: str, base: str) -> stripe.StripeClient:
    return stripe.StripeClient(key, base_addresses={"api": base}, max_network_retries=0, http_client=_Direct())


def _stripe() -> Any:
    """The services of the API. `Any`: what goes in is ours by the functions below, what comes out `objects` reads."""
    return _client(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE).v1


def _ask(call: Callable[..., Any], *arguments: Any, **options: Any) -> Object:
    """One call. Raises `CardDeclined`, `StripeRefused`, `StripeUnavailable`."""
    try:
        answer: Object = call(*arguments, **options).to_dict()
    except stripe.CardError as error:
        details = error.error.to_dict() if error.error is not None else {}
        code = str(details.get("decline_code") or details.get("code") or error.code or "card_declined")
        intent = details.get("payment_intent") or {}
        raise CardDeclined(str(error.user_message or "declined"), code, str(intent.get("id", ""))) from error
    except stripe.InvalidRequestError as error:
        raise StripeRefused(str(error.user_message)) from error
    except stripe.StripeError as error:
        raise StripeUnavailable(f"{type(error).__name__}: {error}") from error
    return answer


def _once(key: str) -> dict[str, Any]:
    return {"options": {"idempotency_key": key}}


# customers


def create_customer(organization_id: int, name: str, email: str, key: str) -> str:
    """A customer's id."""
    parameters = {"name": name, "email": email, "metadata": {"organization_id": str(organization_id)}}
    return str(_ask(_stripe().customers.create, parameters, **_once(key))["id"])


def read_payment_method(payment_method_id: str) -> Object:
    """A card, with the customer it belongs to."""
    return _ask(_stripe().payment_methods.retrieve, payment_method_id)


def open_portal(customer: PayingCustomer, return_url: str) -> str:
    """The address of the customer's own page at Stripe."""
    parameters = {"customer": customer.customer_id, "return_url": return_url}
    return str(_ask(_stripe().billing_portal.sessions.create, parameters)["url"])


# paying


def create_checkout(order: TopUpOrder, return_url: str) -> Object:
    """A session of Stripe Checkout for the order; its `url` is where to send the browser."""
    join = "&" if "?" in return_url else "?"
    back = f"{return_url}{join}order={order.pk}"
    intent: Object = {"metadata": {"order_id": order.pk}, "description": f"Komilion credit, order {order.pk}"}
    if order.saves_card:
        intent["setup_future_usage"] = "off_session"
    parameters: Object = {
        "mode": "payment",
        "customer": order.customer_id,
        "client_reference_id": str(order.wallet_id),
        "line_items": [_line(order, "Komilion credit", order.credit_cents)],
        "metadata": {"order_id": order.pk},
        "payment_intent_data": intent,
        "success_url": back,
        "cancel_url": back,
    }
    if order.fee_cents:
        parameters["line_items"].append(_line(order, "Card processing fee", order.fee_cents))
    if settings.STRIPE_TAX:
        parameters |= {
            "automatic_tax": {"enabled": True},
            "customer_update": {"address": "auto", "name": "auto"},
            "tax_id_collection": {"enabled": True},
            "billing_address_collection": "required",
        }
    return _ask(_stripe().checkout.sessions.create, parameters, **_once(order.pk))


def _line(order: TopUpOrder, name: str, cents: int) -> Object:
    price: Object = {"currency": order.currency, "unit_amount": cents, "product_data": {"name": name}}
    if settings.STRIPE_TAX:
        price["tax_behavior"] = "exclusive"
    return {"price_data": price, "quantity": 1}


def charge_saved_card(order: TopUpOrder) -> Object:
    """A PaymentIntent on the order's card, confirmed while nobody is there."""
    parameters = {
        "amount": order.credit_cents + order.fee_cents,
        "currency": order.currency,
        "customer": order.customer_id,
        "payment_method": order.payment_method_id,
        "confirm": True,
        "off_session": True,
        "metadata": {"order_id": order.pk},
    }
    return _ask(_stripe().payment_intents.create, parameters, **_once(order.pk))


def read_intent(intent_id: str) -> Object:
    """A PaymentIntent."""
    return _ask(_stripe().payment_intents.retrieve, intent_id)


def find_intent(order: TopUpOrder) -> Object | None:
    """The PaymentIntent that was made for the order; None where there is none."""
    since = int(order.created_at.timestamp()) - 60
    intents = _each(_stripe().payment_intents.list, {"customer": order.customer_id, "created": {"gte": since}})
    return next((intent for intent in intents if order_id_of(intent) == order.pk), None)


def find_session(intent_id: str) -> Object | None:
    """The Checkout session that a PaymentIntent belongs to; None where it belongs to none."""
    return next(_each(_stripe().checkout.sessions.list, {"payment_intent": intent_id}), None)


# refunds


def refund(row: Refund) -> Object:
    """Give money back for the refund's payment."""
    parameters = {
        "payment_intent": row.payment_id,
        "amount": row.refund_cents,
        "metadata": {"refund_id": row.pk},
    }
    return _ask(_stripe().refunds.create, parameters, **_once(row.pk))


def find_refund(row: Refund) -> Object | None:
    """What became of the refund at Stripe; None where it never got there."""
    refunds = _each(_stripe().refunds.list, {"payment_intent": row.payment_id})
    return next((found for found in refunds if metadata_of(found).get("refund_id") == row.pk), None)


# what happened lately


def intents_since(unix_s: int) -> Iterator[Object]:
    """PaymentIntents made since then, newest first."""
    return _each(_stripe().payment_intents.list, {"created": {"gte": unix_s}})


def refunds_since(unix_s: int) -> Iterator[Object]:
    """Refunds, likewise."""
    return _each(_stripe().refunds.list, {"created": {"gte": unix_s}})


def disputes_since(unix_s: int) -> Iterator[Object]:
    """Disputes, likewise."""
    return _each(_stripe().disputes.list, {"created": {"gte": unix_s}})


def _each(call: Callable[..., Any], parameters: Object) -> Iterator[Object]:
    """Every row of a list, page by page."""
    asked = {**parameters, "limit": LIST_LIMIT}
    while True:
        page = _ask(call, asked)
        yield from page["data"]
        if not page.get("has_more") or not page["data"]:
            return
        asked = {**asked, "starting_after": page["data"][-1]["id"]}


def metadata_of(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """What we wrote on an object of Stripe's."""
    metadata = found.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def order_id_of(found: Mapping[str, Any]) -> str:
    """The order that we wrote on it; empty where it is not ours."""
    return str(metadata_of(found).get("order_id") or "")
