"""Other names of models: which id a bare, dated, dotted, dashed or renamed one means.

A name means one model or nothing. Rules make names of every model; where two models are named alike, the stronger
claim wins, and between equal claims the name means nothing:

1. its id, letter by letter;
2. its id with dots, dashes, underscores and case as one likes (`fold`);
3. its own name in other forms: behind another name of its maker (`xai/...`), and for Anthropic with version and tier
   swapped (`claude-4-5-sonnet`);
4. the same without a maker;
5. names from the data, in these forms too: what the maker's own API calls it, its dated name (`...-20250929`,
   `...-2025-04-14`), what the maker calls its newest (`...-latest`), and those of the short table by hand.

A model of the project's own catalogue goes before one that an operator added, on every level below the first: a bare
`gpt-4.1` is OpenAI's, whoever else offers something of that name.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

OTHER_NAMES_OF_MAKERS = {
    "amazon": ("aws", "bedrock"),
    "deepseek": ("deepseek-ai",),
    "google": ("gemini",),
    "meta-llama": ("meta",),
    "minimax": ("minimaxai",),
    "mistralai": ("mistral",),
    "moonshotai": ("moonshot",),
    "qwen": ("alibaba", "dashscope"),
    "x-ai": ("xai",),
    "z-ai": ("zai", "zai-org", "zhipuai"),
}
CLAUDE = re.compile(r"claude-(?P<tier>[a-z]+)-(?P<version>\d+(?:-\d{1,2})?)(?P<rest>-\d{8})?")
OPERATORS_CLAIM = 10  # weaker than every claim of the project's own catalogue, but the first


@dataclass(frozen=True, slots=True)
class Named:
    """A model as far as its names go; `aliases` as in the data, with a maker or without."""

    id: str
    aliases: Sequence[str] = ()
    is_shipped: bool = False


def fold(name: str) -> str:
    """What names have in common that differ in case, dots, dashes and underscores only."""
    return name.lower().replace(".", "-").replace("_", "-")


def build_aliases(models: Iterable[Named]) -> dict[str, str]:
    """Folded name (and each id as it is written) -> id."""
    claims: dict[str, tuple[int, set[str]]] = {}
    for model in models:
        weaker = 0 if model.is_shipped else OPERATORS_CLAIM
        for own_strength, name in _claims_of(model):
            strength = own_strength + weaker if own_strength else 0
            strongest, claimants = claims.get(name, (strength, set()))
            if strength < strongest:
                strongest, claimants = strength, set()
            if strength == strongest:
                claimants.add(model.id)
            claims[name] = strongest, claimants
    return {name: next(iter(claimants)) for name, (_, claimants) in claims.items() if len(claimants) == 1}


def _claims_of(model: Named) -> Iterator[tuple[int, str]]:
    """Each name with the strength of its claim, 0 being the strongest."""
    yield 0, model.id
    yield 1, fold(model.id)
    maker, _, own = fold(model.id).partition("/")
    makers = (maker, *OTHER_NAMES_OF_MAKERS.get(maker, ()))
    for form in _forms(own):
        for prefix in makers:
            yield 2, f"{prefix}/{form}"
        yield 3, form
    for alias in map(fold, model.aliases):
        if "/" in alias:
            yield 4, alias
            continue
        for form in _forms(alias):
            for prefix in makers:
                yield 4, f"{prefix}/{form}"
            yield 4, form


def _forms(name: str) -> Iterator[str]:
    """A folded name without its maker, in every form that means the same model."""
    yield name
    claude = CLAUDE.fullmatch(name)
    if claude is not None:
        yield f"claude-{claude['version']}-{claude['tier']}{claude['rest'] or ''}"
