"""The words of model selection that callers, pages and code share: policies, virtual models, task types."""

from collections.abc import Mapping

POLICIES = ("frugal", "balanced", "premium")  # from the cheapest to the dearest promise
DEFAULT_POLICY = "balanced"

# What `model` may say instead of a model, and the policy that it means.
VIRTUAL_MODELS: Mapping[str, str] = {
    "neo-mode": DEFAULT_POLICY,
    "neo-mode/frugal": "frugal",
    "neo-mode/balanced": "balanced",
    "neo-mode/premium": "premium",
    "auto": DEFAULT_POLICY,
}

TASKS = (
    "writing",
    "rewriting",
    "code-generation",
    "math",
    "reasoning",
    "knowledge-qa",
    "tool-use",
    "data-extraction",
    "summarization",
    "translation",
    "roleplay",
    "advice-planning",
    "vision",
    "other",
)

# Other names under which the same task types are published or commonly sent, in hints and in pins.
TASK_ALIASES: Mapping[str, str] = {
    "advice": "advice-planning",
    "agentic": "tool-use",
    "analysis": "reasoning",
    "brainstorming": "advice-planning",
    "chat": "other",
    "classification": "data-extraction",
    "code": "code-generation",
    "coding": "code-generation",
    "content-creation": "writing",
    "conversation": "other",
    "creative": "writing",
    "creative-writing": "writing",
    "data-analysis": "reasoning",
    "debugging": "code-generation",
    "editing": "rewriting",
    "extraction": "data-extraction",
    "function-calling": "tool-use",
    "general": "other",
    "image": "vision",
    "image-understanding": "vision",
    "logic": "reasoning",
    "multilingual": "translation",
    "planning": "advice-planning",
    "programming": "code-generation",
    "qa": "knowledge-qa",
    "question-answering": "knowledge-qa",
    "reasoning-math": "math",
    "research": "knowledge-qa",
    "role-play": "roleplay",
    "structured-output": "data-extraction",
    "summarisation": "summarization",
    "summary": "summarization",
    "tools": "tool-use",
    "translate": "translation",
    "web-search": "tool-use",
}


def virtual_named(name: str) -> str | None:
    """The key of `VIRTUAL_MODELS` that a name in any case means; None for a model's name."""
    if name in VIRTUAL_MODELS:
        return name
    lower = name.lower()
    return lower if lower in VIRTUAL_MODELS else None


def task_named(name: str) -> str | None:
    """The task type that a hint or a pin means, whatever its case and separators; None where there is none."""
    plain = "-".join(name.lower().replace("_", " ").replace("-", " ").split())
    return plain if plain in TASKS else TASK_ALIASES.get(plain)
