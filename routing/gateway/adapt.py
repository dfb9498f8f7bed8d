"""A request as one offer takes it, by the capabilities and quirks of the catalogue."""

from typing import Any

from msgspec.structs import replace

from routing.gateway.parameters import EFFORTS, TABLE, named, shown
from routing.providers.base import NO_QUIRKS, ChatRequest, Quirks, Target

_UNLESS_LACKING = tuple((name, row.unless_lacking) for name, row in TABLE.items() if row.unless_lacking)
_UNLESS = tuple((name, row.unless) for name, row in TABLE.items() if row.unless)


def adapt(request: ChatRequest, target: Target) -> ChatRequest:
    """The request as this offer takes it; the same object where nothing is to change.

    What the offer lacks or refuses is dropped, what it calls otherwise renamed, an effort that it does not know
    replaced; each is named in `adjusted`. With `pass_unknown` the provider gets the unknown parameters after all (the
    dialect sends them), so they are no longer named as dropped.
    """
    adjusted = request.adjusted
    if target.pass_unknown and request.unknown:
        kept = {shown(name) for name in request.unknown}
        adjusted = tuple(entry for entry in adjusted if entry["param"] not in kept)
    capabilities, quirks = target.capabilities, target.quirks
    parameters = request.parameters
    lacking = [name for name, capability in _UNLESS_LACKING if name in parameters and capability not in capabilities]
    lacking += [name for name, capability in _UNLESS if name in parameters and capability in capabilities]
    if quirks is not NO_QUIRKS:
        lacking += [name for name in parameters if name in quirks.refuses and name not in quirks.renames]
    if lacking:
        parameters = {name: value for name, value in parameters.items() if name not in lacking}
        adjusted += named(lacking)
    if quirks is not NO_QUIRKS:
        parameters, changes = _in_its_words(parameters, quirks)
        adjusted += changes
    if parameters is request.parameters and adjusted is request.adjusted:
        return request
    return replace(request, parameters=parameters, adjusted=adjusted)


def _in_its_words(parameters: dict[str, Any], quirks: Quirks) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
    """The parameters under the provider's names, the effort as one that it knows; with what changed its meaning."""
    asked = parameters.get("reasoning_effort")
    changes: tuple[dict[str, Any], ...] = ()
    if asked is not None and quirks.efforts and asked not in quirks.efforts:
        effort = _nearest_effort(asked, quirks.efforts)
        parameters = parameters | {"reasoning_effort": effort}
        changes = ({"param": "reasoning_effort", "action": "changed", "from": asked, "to": effort},)
    if quirks.renames and not quirks.renames.keys().isdisjoint(parameters):
        parameters = {quirks.renames.get(name, name): value for name, value in parameters.items()}
    return parameters, changes


def _nearest_effort(asked: str, known: tuple[str, ...]) -> str:
    """The highest known one below it, which costs no more than what was asked for; else the lowest."""
    below = [effort for effort in known if EFFORTS.index(effort) < EFFORTS.index(asked)]
    return max(below or [min(known, key=EFFORTS.index)], key=EFFORTS.index)
