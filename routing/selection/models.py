"""What tenants decided about the choice of models, what they thought of answers, and what there was to choose from."""

from typing import override

from django.db import models


class Pin(models.Model):
    """A model that answers one organization's requests of one task type, whatever the policy would choose."""

    class Source(models.TextChoices):
        """Who had the idea."""

        PERSON = "person"
        KEY = "key"
        ADVISOR = "advisor"

    class Upgrades(models.TextChoices):
        """What becomes of it when a newer model of its line appears."""

        AUTO = "auto"
        ASK = "ask"
        OFF = "off"

    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    task = models.CharField(max_length=40)  # one of routing.selection.words.TASKS
    model = models.CharField(max_length=200)  # a catalogue id; no foreign key, as models come and go
    source = models.CharField(max_length=10, choices=Source.choices, default=Source.PERSON)
    set_by = models.CharField(max_length=254)
    created_at = models.DateTimeField()
    upgrades = models.CharField(max_length=4, choices=Upgrades.choices, default=Upgrades.AUTO)
    # What a newer model may cost at most: bucket -> nano-USD per million units, fee included. Empty: what it costs now.
    ceiling = models.JSONField(default=dict, blank=True)
    trial_model = models.CharField(max_length=200, blank=True, default="")  # answers a share of its calls, if any does
    trial_basis_points = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "task"], name="one_pin_per_organization_and_task"),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.task} by {self.model}"


class RoutingPreferences(models.Model):
    """Switches of one organization; without a row all of them are off."""

    organization = models.OneToOneField(
        "accounts.Organization", on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    follows_successors = models.BooleanField(default=False)  # a retired model moves to its successor, dearer or not

    @override
    def __str__(self) -> str:
        return f"preferences of organization {self.organization_id}"


class Feedback(models.Model):
    """What somebody thought of one answer, with how it was chosen. Holds no prompt and no answer."""

    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    request_id = models.CharField(max_length=40)
    score = models.FloatField()  # 0 (useless) to 1 (right)
    task = models.CharField(max_length=40, blank=True)  # empty where the request was never classified
    difficulty = models.FloatField(null=True, blank=True)  # logit; 0 is average
    policy = models.CharField(max_length=64, blank=True)  # empty where the caller named the model
    model = models.CharField(max_length=200)
    revision = models.CharField(max_length=200, blank=True)  # of the model at its provider
    expected = models.FloatField(null=True, blank=True)  # probability of a good answer, without what votes say
    features = models.JSONField(default=dict)  # what the choice was made by, compact
    propensity = models.FloatField(null=True, blank=True)  # probability with which this model was chosen
    is_paid = models.BooleanField(default=False)  # of an organization that had paid; others' votes move nothing
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "request_id"], name="one_feedback_per_request"),
        ]
        indexes = [models.Index(fields=["created_at"], name="feedback_by_date")]

    @override
    def __str__(self) -> str:
        return f"feedback on {self.request_id}"


class Market(models.Model):
    """The candidates that choices were made from, once for each state of the catalogue; receipts name it."""

    fingerprint = models.CharField(max_length=64, primary_key=True)
    content = models.JSONField()
    created_at = models.DateTimeField()

    @override
    def __str__(self) -> str:
        return f"market {self.fingerprint}"
