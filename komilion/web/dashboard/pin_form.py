"""The form of a pin on the advisor's page: how it takes newer models, and what these may cost."""

from django import forms
from django.http import QueryDict

from komilion.common.money import format_usd
from komilion.common.usage import PRICED_BUCKETS
from komilion.web.dashboard.words import BUCKETS, UPGRADES
from komilion.web.keys.forms import UsdFormField
from routing.selection.models import Pin


class PinForm(forms.Form):
    """What becomes of a pin when a newer model of its line appears, and what that may cost.

    Without any field of a price in the form that was sent the ceiling stays as it is.
    """

    upgrades = forms.ChoiceField(label="Newer models", choices=list(UPGRADES.items()))

    def __init__(self, pin: Pin, data: QueryDict | None = None) -> None:
        self.pin = pin
        priced = {"input", "output", *pin.ceiling}
        self.buckets = {f"most_{bucket}": bucket for bucket in PRICED_BUCKETS if bucket in priced}
        known = {f"most_{bucket}": format_usd(nano) for bucket, nano in pin.ceiling.items()}
        super().__init__(data, initial={"upgrades": pin.upgrades, **known}, auto_id=f"pin-{pin.task}-%s")
        for name, bucket in self.buckets.items():
            label = f"At most for {BUCKETS[bucket]}"
            self.fields[name] = UsdFormField(label=label, empty=f"the price of {pin.model}")

    @property
    def most(self) -> list[tuple[str, int]]:
        """What tokens may cost at most now: nano-USD for a million that come in, and that go out."""
        buckets = {"input": "in", "output": "out"}
        return [(word, self.pin.ceiling[bucket]) for bucket, word in buckets.items() if bucket in self.pin.ceiling]

    @property
    def ceiling(self) -> dict[str, int] | None:
        """Nano-USD per million units by bucket, those that were filled in; None where no price was asked."""
        if not self.buckets.keys() & self.data.keys():
            return None
        found = {bucket: self.cleaned_data[name] for name, bucket in self.buckets.items()}
        return {bucket: nano for bucket, nano in found.items() if nano is not None}
