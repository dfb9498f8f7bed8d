"""`manage.py routing replay|explain REQUEST_ID`: why a model was chosen, and whether it would be chosen again."""

import json
from typing import Any, cast, override

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.models import UsageRow
from routing.queries import catalog_rows
from routing.selection.explain import Scorer, explain, replay
from routing.selection.market import Facts, ModelFacts, facts_of
from routing.selection.quality import Quality
from routing.selection.receipts import CHOICE, answered_by, stored_receipt
from routing.selection.weights import Weights


class Command(BaseCommand):
    """For operators, who may see every tenant's receipts; there is no word of a prompt in them."""

    help = "Explains the choice of a model, or makes it again from what was stored."

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        """A verb and a request."""
        parser.add_argument("verb", choices=["replay", "explain"])
        parser.add_argument("request_id")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        """Raises `CommandError` where there is no receipt, or a replay comes to something else."""
        packed, facts, answered = _receipt(options["request_id"])
        if options["verb"] == "explain":
            self.stdout.write(json.dumps(explain(packed, facts, answered), indent=2))
            return
        scorer = _scorer(facts)
        again = replay(packed, facts, cast(Scorer, scorer), scorer.version)
        if not again.same:
            raise CommandError(f"now {again.chosen}; what differs: {'; '.join(again.differences)}")
        self.stdout.write(f"same choice: {again.chosen}")


def _receipt(request_id: str) -> tuple[Any, Facts, str | None]:
    """The packed receipt, its market, and the model that answered."""
    row = UsageRow.objects.filter(request_id=request_id).first()
    if row is None:
        raise CommandError(f"there is no request {request_id}, or it is not settled yet")
    detail = row.detail
    if CHOICE not in detail:
        raise CommandError(f"{request_id} named its model, so nothing was chosen")
    receipt = stored_receipt(detail)
    if receipt is None:
        raise CommandError(f"the receipt of {request_id} cannot be read; its market may be gone")
    return detail[CHOICE], receipt.facts, answered_by(row)


def _scorer(facts: Facts) -> Quality:
    """The shipped weights for the candidates of that market, by what was noted of them then.

    Of a market that was kept before that was noted, what the catalogue says now of models that can be called here.
    """
    return Quality.build(Weights.load(), [model if model.line else _as_of_now(model) for model in facts.models])


def _as_of_now(model: ModelFacts) -> ModelFacts:
    entry = catalog_rows().catalog.models.get(model.id)
    return model if entry is None else facts_of(entry)
