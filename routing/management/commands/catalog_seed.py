"""`manage.py catalog_seed`: the models that run on the machine itself, and the shipped catalogue."""

from typing import Any, override

from django.core.management.base import BaseCommand

from routing.actions.catalog import do_put_offer, do_put_provider
from routing.actions.local import LOCAL, callable_offers, do_withdraw_offers
from routing.actions.shipped import do_seed_shipped
from routing.catalog.models import Offer, Provider


class Command(BaseCommand):
    """Seeding; safe to repeat, and silent about what is there already."""

    help = "Put the local models and the shipped catalogue into the database, or bring them up to date."

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        self._seed_local()
        seeded = do_seed_shipped()
        if seeded is not None:
            self.stdout.write(
                f"catalogue of {seeded.as_of}: {seeded.models} models and {seeded.offers} offers written,"
                f" {seeded.removed} offers removed"
            )

    def _seed_local(self) -> None:
        in_place = Provider.objects.filter(pk=LOCAL.name, base_url=LOCAL.base_url).exists()
        known = set(Offer.objects.filter(provider=LOCAL.name).values_list("model_id", flat=True)) if in_place else set()
        missing = [offer for offer in callable_offers() if offer.model_id not in known]
        if missing and not in_place:
            do_put_provider(LOCAL)
        for offer in missing:
            do_put_offer(offer)
            self.stdout.write(f"model {offer.model_id} at {LOCAL.base_url}")
        for name in do_withdraw_offers(known):
            self.stdout.write(f"model {name} is not offered any more: its program is not on this machine")
