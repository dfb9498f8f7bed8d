"""What a shared run holds: the form of the playground as it was filled, and what each model answered."""

from typing import Annotated

import msgspec
from msgspec import Meta

from komilion.common.errors import BadRequest

TITLE_CHARACTERS = 80
MOST_MODELS, MOST_IMAGES = 6, 8

Model = Annotated[str, Meta(min_length=1, max_length=200)]
Short = Annotated[str, Meta(max_length=200)]
Text = Annotated[str, Meta(max_length=1_000_000)]  # what all of it may take is the limit that counts
Image = Annotated[str, Meta(pattern=r"^data:image/(?:png|jpeg|webp|gif);base64,[A-Za-z0-9+/]+={0,2}$")]
Count = Annotated[int, Meta(ge=0, le=2**53)]


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    """The parameters, as they were written; empty where one was left out."""

    temperature: Short = ""
    max_tokens: Short = ""
    top_p: Short = ""
    reasoning_effort: Short = ""


class SharedCandidate(msgspec.Struct, forbid_unknown_fields=True):
    """A model that a policy could have taken."""

    model: Model
    verdict: Short
    p: float | None = None
    bound: float | None = None
    expected_cost_nano_usd: Count | None = None


class SharedReceipt(msgspec.Struct, forbid_unknown_fields=True):
    """Why a policy took its model, as the playground shows it; `more` candidates are left out."""

    why: Short
    policy: Short
    rule: Short
    counterfactual: Annotated[str, Meta(max_length=500)] = ""
    pin: Annotated[str, Meta(max_length=500)] = ""
    task: Short = ""
    difficulty: float | None = None
    reasons: Annotated[list[Short], Meta(max_length=20)] = []
    candidates: Annotated[list[SharedCandidate], Meta(max_length=20)] = []
    more: Count = 0


class SharedAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """One column."""

    model: Model
    answered_by: Short = ""
    request_id: Short = ""
    text: Text = ""
    thinking: Text = ""
    tool_calls: Text = ""
    error: Text = ""
    reason: Short = ""  # of the error
    begun: bool = True  # so that a page tells of the call
    changes: Annotated[list[Text], Meta(max_length=200)] = []  # what was changed before it was sent, in sentences
    receipt: SharedReceipt | None = None
    cost_nano_usd: Count | None = None
    first_content_ms: Count | None = None
    duration_ms: Count | None = None
    output_tokens: Count | None = None
    tokens_per_s: float | None = None


class SharedRun(msgspec.Struct, forbid_unknown_fields=True):
    """All of it."""

    models: Annotated[list[Model], Meta(min_length=1, max_length=MOST_MODELS)]
    prompt: Text = ""
    system: Text = ""
    task: Short = ""
    tools: Text = ""
    schema: Text = ""
    settings: Settings = msgspec.field(default_factory=Settings)
    images: Annotated[list[Image], Meta(max_length=MOST_IMAGES)] = []
    answers: Annotated[list[SharedAnswer], Meta(max_length=MOST_MODELS)] = []

    @property
    def title(self) -> str:
        """How the prompt begins."""
        words = " ".join((self.prompt or self.system).split())
        return words if len(words) <= TITLE_CHARACTERS else f"{words[: TITLE_CHARACTERS - 1]}…"


def read_run(text: str | bytes) -> SharedRun:
    """What a page sent. Raises `BadRequest` that names the field at fault."""
    try:
        return msgspec.json.decode(text, type=SharedRun)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadRequest(f"This is no run of the playground: {error}.") from error
