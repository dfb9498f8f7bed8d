"""Tables of the advisor."""

from advisor.models.advice import Advice, Effect
from advisor.models.digest import Alert, ClosedAddress, Digest, Letter, MailWishes, UsedLink
from advisor.models.evidence import DayEvidence, EvidenceDay
from advisor.models.samples import EvaluationCase, PromptSample, SampleChoice
from advisor.models.upgrade import Upgrade

__all__ = [
    "Advice",
    "Alert",
    "ClosedAddress",
    "DayEvidence",
    "Digest",
    "Effect",
    "EvaluationCase",
    "EvidenceDay",
    "Letter",
    "MailWishes",
    "PromptSample",
    "SampleChoice",
    "Upgrade",
    "UsedLink",
]
