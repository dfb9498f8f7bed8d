"""Letters: on Mondays one for each organization, ISO week and member; at once where a model in use is in trouble."""

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
        # The week first: what is missing, figures and what is too old are asked for by it.
        constraints = [models.UniqueConstraint(fields=["week", "organization"], name="one_digest_a_week")]

    @override
    def __str__(self) -> str:
        return f"{self.organization} in {self.week}"


class Alert(models.Model):
    """What is wrong with a model that an organization uses, as it was when it was found."""

    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=16)  # of advisor.advice.Kind: failing, slow or ending
    model = models.CharField(max_length=200)
    figures = models.JSONField()  # those of advisor.alarms.Alarm
    expires_at = models.DateTimeField()  # what has not gone out by then is no news any more
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["organization", "created_at"], name="alerts_by_organization")]

    @override
    def __str__(self) -> str:
        return f"{self.organization}: {self.model} {self.kind}"


class Letter(models.Model):
    """A digest or an alert to one member. `message_id` is made of what it is and to whom, so a repeat is the same."""

    class State(models.TextChoices):
        """Where it is. `sending` with a lease that is over is one whose sender died: it goes out again."""

        WAITING = "waiting"
        SENDING = "sending"
        SENT = "sent"
        FAILED = "failed"
        LEFT_OUT = "left_out"  # the member wants none, or her address takes none

    digest = models.ForeignKey(Digest, on_delete=models.CASCADE, null=True, blank=True, related_name="letters")
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, null=True, blank=True, related_name="letters")
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    message_id = models.CharField(max_length=200, unique=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    leased_until = models.DateTimeField(null=True, blank=True)
    tries = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["digest", "user"], name="one_letter_a_member"),
            models.UniqueConstraint(fields=["alert", "user"], name="one_alert_a_member"),
            models.CheckConstraint(
                condition=models.Q(digest__isnull=True) ^ models.Q(alert__isnull=True), name="a_letter_has_one_reason"
            ),
        ]
        indexes = [models.Index(fields=["state", "leased_until"], name="letters_to_send")]

    @override
    def __str__(self) -> str:
        return f"{self.reason} to {self.user}"

    @property
    def reason(self) -> Digest | Alert:
        """What it tells of."""
        found = self.digest or self.alert
        assert found is not None, "the database sees to it"
        return found


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
    last_day = models.DateField()  # of the link, in UTC; after it the link is too old, and this goes

    @override
    def __str__(self) -> str:
        return self.nonce
