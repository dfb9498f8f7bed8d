"""From a request to its plan: by the model that it names, or by the brain where it leaves the choice to us.

What needs to be waited for is here: the organization's preferences, and the loan of an offer that is out of order.
`route` and the brain are pure.
"""

from msgspec.structs import replace

from accounts.access import Caller
from komilion.common.errors import KomilionError, ProviderUnavailable
from routing.catalog.snapshot import Catalog, OfferEntry
from routing.gateway.choice.brain import Asked, session_of
from routing.gateway.choice.selected import Selected
from routing.gateway.order import order_by_health
from routing.gateway.route import plan_of, route
from routing.gateway.services import Services
from routing.gateway.types import Inbound, Plan
from routing.selection.choose import Choice
from routing.selection.health import Key, key_of
from routing.selection.words import VIRTUAL_MODELS

OFFERS_OF_THE_CHOSEN = 2  # then the next model's turn comes; an answer has four attempts in all
LAST_RESORTS = 4


async def catalog_for(inbound: Inbound, services: Services, version: int) -> Catalog:
    """The catalogue to plan by, at least at `version`; compared with the database where it does not know the model.

    News of a new model may be on their way, or Redis be gone.
    """
    catalog = await services.current_catalog(version)
    model = inbound.chat.model
    is_known = model in VIRTUAL_MODELS or catalog.canonical(model) is not None
    return catalog if is_known else await services.fresh_catalog()


async def plan_call(
    inbound: Inbound, caller: Caller, catalog: Catalog, services: Services, *, may_probe: bool = True
) -> Plan:
    """Raises what `route` raises, and what an empty set of candidates means.

    Without `may_probe` no offer that is out of order is borrowed, and no model tried: for a plan that nobody carries
    out.
    """
    model = inbound.chat.model
    if model in VIRTUAL_MODELS:
        try:
            return await _plan_choice(inbound, caller, catalog, services, may_probe=may_probe)
        except KomilionError:
            newest = await services.fresh_catalog()  # news of a model that can do it may be on their way
            if newest is catalog:
                raise
            return await _plan_choice(inbound, caller, newest, services, may_probe=may_probe)
    may_cost_more = False
    if model not in catalog.models:  # it may be a retired one
        may_cost_more = (await services.preferences.of(caller)).follows_successors
    plan = route(inbound, caller, catalog, may_cost_more=may_cost_more)
    return await order_by_health(plan, services.breakers) if may_probe and services.breakers.any_open else plan


async def _plan_choice(
    inbound: Inbound, caller: Caller, catalog: Catalog, services: Services, *, may_probe: bool
) -> Plan:
    chat = inbound.chat
    preferences, session = await services.preferences.of(caller), session_of(chat, caller)
    request_id = inbound.request_id if may_probe else ""
    asked = Asked(chat, inbound.body_bytes, caller, preferences, session=session, request_id=request_id)
    choice, probe = await _choose(asked, services, may_probe=may_probe)
    if choice is not None:
        await services.learning.keep(choice.market)
    selected = Selected(asked.policy, choice, session, wants_receipt=chat.wishes.explain)
    offers = _cheapest(inbound, caller, catalog) if choice is None else _in_turn(choice)
    return replace(plan_of(inbound, offers, caller, catalog), choice=selected, probe=probe)


async def _choose(asked: Asked, services: Services, *, may_probe: bool) -> tuple[Choice | None, Key | None]:
    """The choice, and the breaker whose offer it has on loan.

    Offers that are out of order are no candidates. But the one that would be chosen if they were may be due for a
    probe: then it is, for this caller alone.
    """
    brain, breakers = services.learning.brain, services.breakers
    ready = brain.ready
    if not breakers.any_open or ready is None:
        return brain.decide(asked), None
    keys = {(offer.provider, offer.model_id): key_of(offer) for offer in ready.market.offers}
    failing = frozenset(name for name, key in keys.items() if breakers.is_open(*key))
    if not failing:
        return brain.decide(asked), None
    wanted = _first(brain.decide(asked)) if may_probe else None
    if wanted in failing:
        probe = await breakers.borrow([keys[wanted]])
        if probe is not None:
            return brain.decide(replace(asked, open_offers=failing - {wanted})), probe
    return brain.decide(replace(asked, open_offers=failing)), None


def _first(choice: Choice | None) -> tuple[str, str] | None:
    if choice is None:
        return None
    offer = choice.attempts[0][0]
    return offer.provider, offer.model_id


def _in_turn(choice: Choice) -> list[OfferEntry]:
    """Offers in the order in which they are asked: the chosen model's, each fallback's first, then the rest."""
    chosen, *fallbacks = choice.attempts
    rest = [
        offer for offers in (chosen[OFFERS_OF_THE_CHOSEN:], *(offers[1:] for offers in fallbacks)) for offer in offers
    ]
    return [*chosen[:OFFERS_OF_THE_CHOSEN], *(offers[0] for offers in fallbacks), *rest]


def _cheapest(inbound: Inbound, caller: Caller, catalog: Catalog) -> list[OfferEntry]:
    """By list price alone, where there is no brain. Raises `ProviderUnavailable` where there is nothing to call."""
    offers = [
        offer
        for model in catalog.models.values()
        if catalog.allows(caller.models_allowed, model.id)
        for offer in model.offers
        if inbound.chat.needs <= offer.target.capabilities
    ]
    if not offers:
        raise ProviderUnavailable("No model can be called.")
    output = inbound.estimated_tokens
    return sorted(offers, key=lambda offer: offer.price.ceiling(inbound.body_bytes, output))[:LAST_RESORTS]
