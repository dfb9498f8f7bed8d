"""Prompts that an organization lets the advisor keep, and cases by which it wants models judged."""

from typing import override

from django.db import models


class SampleChoice(models.Model):
    """Whether the advisor may keep redacted prompts of an organization. Without a row nobody was asked."""

    organization = models.OneToOneField(
        "accounts.Organization", on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    is_allowed = models.BooleanField()
    chosen_by = models.CharField(max_length=254)
    chosen_at = models.DateTimeField()

    @override
    def __str__(self) -> str:
        return f"{self.organization}: {'on' if self.is_allowed else 'off'}"


class PromptSample(models.Model):
    """A typical prompt of a task type, redacted; gone after 14 days, or when somebody deletes it."""

    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    task = models.CharField(max_length=40)
    request_id = models.CharField(max_length=40)
    text = models.TextField()
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "request_id"], name="one_sample_a_request")]

    @override
    def __str__(self) -> str:
        return f"{self.task} of {self.organization}"


class EvaluationCase(models.Model):
    """A prompt and how its answer is checked, without anybody's opinion."""

    class Check(models.TextChoices):
        """`code`: an expression in Python over `answer`, in a sandbox."""

        CONTAINS = "contains"
        REGEX = "regex"
        JSON_SCHEMA = "json_schema"
        CODE = "code"

    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    task = models.CharField(max_length=40)
    name = models.CharField(max_length=100)
    prompt = models.TextField()
    check_kind = models.CharField(max_length=12, choices=Check.choices)
    expected = models.TextField()
    created_by = models.CharField(max_length=254)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "task", "name"], name="one_case_a_name")]

    @override
    def __str__(self) -> str:
        return self.name
