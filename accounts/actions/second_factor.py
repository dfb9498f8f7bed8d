"""Taking somebody's second factor away, which is how an operator helps who lost her phone and her codes."""

from allauth.mfa.models import Authenticator
from django.db import transaction

from accounts.actions.audit import do_audit


def do_remove_second_factor(authenticator: Authenticator, *, actor: str) -> None:
    """This way to prove oneself, and the recovery codes where nothing else is left that they could stand in for."""
    with transaction.atomic():
        user = authenticator.user
        authenticator.delete()
        left = Authenticator.objects.filter(user=user)
        if not left.exclude(type=Authenticator.Type.RECOVERY_CODES).exists():
            left.delete()
        do_audit(
            None, actor=actor, action="person.second_factor", subject=user.email, detail={"removed": authenticator.type}
        )
