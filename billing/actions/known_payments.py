"""The payment that an event speaks of, also when that event overtook the one that credits it."""

import logging

from billing.actions.credits import do_credit
from billing.models import Payment, TopUpOrder
from billing.payments import client
from billing.payments.mode import payment_mode
from billing.payments.objects import read_intent, read_session, text_of

log = logging.getLogger(__name__)


def do_find_payment(payment_id: str) -> Payment | None:
    """The credited payment. One that is ours and not credited yet is read from Stripe and credited first.

    None where it is not ours, or was never paid. Raises what Stripe and the ledger raise.
    """
    payment = Payment.objects.filter(pk=payment_id).first()
    if payment is None and payment_id and payment_mode() in {"live", "stripe_test"}:
        try:
            do_credit_from_stripe(client.read_intent(payment_id))
        except client.StripeRefused as error:
            log.warning("payment not found at Stripe", extra={"payment": payment_id, "error": str(error)})
        payment = Payment.objects.filter(pk=payment_id).first()
    return payment


def is_of_others(payment_id: str) -> bool:
    """Whether nothing of ours goes with the payment, which was not found: the account may serve others too."""
    return not payment_id or not TopUpOrder.objects.filter(payment_intent_id=payment_id).exists()


def do_credit_from_stripe(intent: client.Object) -> bool:
    """Credit what a PaymentIntent paid for, by the checks of its event; False where that is nothing of ours.

    Raises what Stripe and the ledger raise.
    """
    order = TopUpOrder.objects.filter(pk=client.order_id_of(intent)).first()
    if order is None or text_of(intent, "status") != "succeeded":
        return False
    if order.kind == TopUpOrder.Kind.RECHARGE:
        return do_credit(read_intent(intent))
    session = client.find_session(text_of(intent, "id"))
    if session is None or text_of(session, "payment_status") != "paid":
        log.error("paid without its session", extra={"alarm": "payment_mismatch", "payment": intent.get("id")})
        return False
    return do_credit(read_session(session))
