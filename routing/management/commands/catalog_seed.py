"""`manage.py catalog_seed`: the models that run on the machine itself, and the shipped catalogue."""

from typing import Any, override

from django.conf import settings
from django.core.management.base import BaseCommand

from routing.actions.catalog import OfferSpec, ProviderSpec, do_put_offer, do_put_provider, nano_per_million
from routing.actions.shipped import do_seed_shipped
from routing.catalog.models import Offer, Provider

LOCAL = ProviderSpec(name="local", base_url=settings.LOCAL_MODELS_URL, api_key="local", cancel_stops_billing=True)
SMOLLM2 = OfferSpec(
    model_id="local/smollm2-135m-instruct",
    name="SmolLM2 135M Instruct",
    provider="local",
    upstream_id="smollm2-135m-instruct",
    components={"input": nano_per_million("0.02"), "output": nano_per_million("0.06")},
    context_length=4_096,
    max_output=1_024,
    capabilities=(),
    tokens_per_s=40,
)


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
        if in_place and Offer.objects.filter(model_id=SMOLLM2.model_id).exists():
            return
        do_put_provider(LOCAL)
        do_put_offer(SMOLLM2)
        self.stdout.write(f"model {SMOLLM2.model_id} at {LOCAL.base_url}")
