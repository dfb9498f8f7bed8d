"""What the books' short names say to a reader."""

from dataclasses import dataclass

BUCKETS = {
    "input": "input",
    "cache_read": "input from the cache",
    "cache_write": "input written to the cache",
    "cache_write_1h": "input written to the cache for an hour",
    "input_audio": "audio input",
    "cache_read_audio": "audio input from the cache",
    "input_image": "image input",
    "cache_read_image": "image input from the cache",
    "output": "output",
    "output_audio": "audio output",
    "web_searches": "web searches",
    "audio_ms": "milliseconds of speech",
    "add_on_ms": "milliseconds of speech, for each add-on",
    "characters": "characters spoken",
    "reasoning": "of it reasoning",
}
ACCOUNTS = {
    "paid": "your paid credit",
    "promo": "your promo credit",
    "debt": "your debt",
    "provider_cost": "the provider's cost",
    "platform_fee": "our fee",
    "attempt_loss": "our losses",
    "crash_loss": "our losses",
}
ENTRIES = {
    "extend": "more was reserved",
    "settle": "charged",
    "void": "released, nothing was sent",
    "expire": "released, the call was lost",
}
SOURCES = {
    "provider": "reported by the provider",
    "estimated": "counted by us",
    "absent": "nothing was reported and nothing is charged",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: a word, its badge, and a sentence."""

    word: str
    badge: str
    meaning: str


OUTCOMES = {
    "completed": Outcome("completed", "good", "The provider finished its answer."),
    "provider_failed": Outcome("failed", "bad", "The provider refused or failed before anything was written."),
    "provider_cut": Outcome("cut off", "warn", "The answer broke off, or was too large; what was written is charged."),
    "client_left": Outcome("you left", "quiet", "Your program closed the connection, and the provider stopped."),
    "insufficient_balance": Outcome("wallet ran out", "warn", "The wallet could not cover more of the answer."),
    "key_cap_reached": Outcome("cap reached", "warn", "A cap of the key did not allow more of the answer."),
    "server_stopped": Outcome("server stopped", "bad", "Our server had to stop in the middle of it."),
}
STATES = {
    "running": Outcome("running", "info", "It is not settled yet: what it may cost is reserved."),
    "voided": Outcome("not sent", "quiet", "No provider saw it; nothing is charged."),
    "expired": Outcome("lost", "quiet", "It was never settled, so it costs you nothing; what it may cost us is ours."),
}


def outcome_of(name: str) -> Outcome:
    """In words; a name that has none yet stands for itself."""
    return OUTCOMES.get(name) or Outcome(name.replace("_", " "), "quiet", "")


POLICIES = {
    "neo-mode/frugal": "The cheapest model that very probably reaches 85 % of the best one's quality.",
    "neo-mode/balanced": "The cheapest that very probably reaches 95 % of it. So do neo-mode and auto.",
    "neo-mode/premium": "The best model; where two are as good, the cheaper.",
}
UPGRADES = {
    "auto": "by themselves, after a trial",
    "ask": "after a trial, once somebody agrees",
    "off": "never",
}
