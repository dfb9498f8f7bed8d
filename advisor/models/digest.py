"""The Monday letter: one for each organization, ISO week and member."""

from typing import override

from django.db import models


class Digest(models.Model):
    """What was found for an organization in a week, also where there was nothing worth a letter."""

    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    week = models.CharField(max_length=8)  # such as 2026-W47
    is_silent = models.BooleanField()  # nothing worth saying: no letter goes out
    figures = models.JSONField()  # what the letter tells beside the advice: spend by task type, by model, before
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "week"], name="one_digest_a_week")]

    @override
    def __str__(self) -> str:
        return f"{self.organization} in {self.week}"


class Letter(models.Model):
    """A digest to one member. `message_id` is made of organization, member and week, so a repeat is the same letter."""

    class State(models.TextChoices):
        """Where it is. `sending` with a lease that is over is one whose sender died: it goes out again."""

        WAITING = "waiting"
        SENDING = "sending"
        SENT = "sent"
        FAILED = "failed"
        LEFT_OUT = "left_out"  # the member wants none, or her address takes none

    digest = models.ForeignKey(Digest, on_delete=models.CASCADE, related_name="letters")
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    message_id = models.CharField(max_length=200, unique=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    leased_until = models.DateTimeField(null=True, blank=True)
    tries = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["digest", "user"], name="one_letter_a_member")]
        indexes = [models.Index(fields=["state", "leased_until"], name="letters_to_send")]

    @override
    def __str__(self) -> str:
        return f"{self.digest} to {self.user}"


class MailWishes(models.Model):
    """How often a member wants to hear; without a row weekly, and health alerts at once."""

    class Often(models.TextChoices):
        """How often digests come."""

        WEEKLY = "weekly"
        MONTHLY = "monthly"
        OFF = "off"

    membership = models.OneToOneField(
        "accounts.Membership", on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    often = models.CharField(max_length=8, choices=Often.choices, default=Often.WEEKLY)
    wants_alerts = models.BooleanField(default=True)

    @override
    def __str__(self) -> str:
        return f"{self.membership}: {self.often}"


class ClosedAddress(models.Model):
    """An address that takes no letters: it bounced for good, or its owner complained."""

    class Why(models.TextChoices):
        """What closed it."""

        BOUNCE = "bounce"
        COMPLAINT = "complaint"

    address = models.EmailField(primary_key=True)  # lower case
    why = models.CharField(max_length=10, choices=Why.choices)
    closed_at = models.DateTimeField()

    @override
    def __str__(self) -> str:
        return self.address


class UsedLink(models.Model):
    """A signed link of a letter that was used; none works twice."""

    nonce = models.CharField(max_length=64, primary_key=True)
    used_at = models.DateTimeField()

    @override
    def __str__(self) -> str:
        return self.nonce
