"""Savings: what the same tokens would have been charged at the best model of the task, minus what was charged."""

from billing.prices import PriceVersion, UnpricedUsage
from komilion.common.usage import Usage


def savings(best: PriceVersion, usage: Usage, charged: int) -> int | None:
    """Nano-USD, fee included on both sides; negative where the call was dearer than the best model.

    `best` is the price, frozen when the model was chosen, of `Choice.best_offer`. None where that price has no figure
    for something that was used, such as a web search: unknown is not 0.
    """
    try:
        return best.charge(usage).charge - charged
    except UnpricedUsage:
        return None
