"""Tables of the advisor."""

from advisor.models.advice import Advice, Effect
from advisor.models.digest import ClosedAddress, Digest, Letter, MailWishes, UsedLink
from advisor.models.evidence import DayEvidence, EvidenceDay
from advisor.models.samples import EvaluationCase, PromptSample, SampleChoice
from advisor.models.upgrade import Upgrade

__all__ = [
    "Advice",
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
