"""Pieces of the operators' pages."""

import json
from datetime import date, datetime
from functools import cached_property
from typing import Any, override

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.timezone import is_naive

MOST_LISTED = 10_000  # rows; older ones are found by a search
MOST_ID = 2**63 - 1


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # generic only in its stubs
    """Pages of the first `MOST_LISTED` rows: to count all of a large table takes longer than anybody waits."""

    @cached_property
    @override
    def count(self) -> int:
        """How many rows there are, up to the bound."""
        rows: Any = self.object_list  # a query set
        return int(rows[:MOST_LISTED].count())


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in its stubs
    """Shows rows that only the code of their app may write."""

    list_per_page = 50
    paginator = BoundedPaginator
    show_full_result_count = False

    @override
    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Finds nothing for a number that no column can hold; SQLite would fail over it."""
        if any(word.isdecimal() and int(word) > MOST_ID for word in search_term.split()):
            return queryset.none(), False
        return super().get_search_results(request, queryset, search_term)

    @override
    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuses to filter by a field that is not shown: `?text__startswith=a` would spell it out letter by letter."""
        hidden = self.get_exclude(request) or ()
        return lookup.partition("__")[0] not in hidden and super().lookup_allowed(lookup, value, request)

    @override
    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        """Nobody adds."""
        return False

    @override
    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody changes."""
        return False

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes."""
        return False


class _KeyedList(ChangeList):
    """A list whose rows are linked by all parts of their key."""

    @override
    def url_for_result(self, result: Model) -> str:
        """The page of a row."""
        site = self.model_admin.admin_site.name
        return reverse(
            f"{site}:{self.opts.app_label}_{self.opts.model_name}_change", args=[quote(address_of_key(result.pk))]
        )


class CompositeKeyAdmin(ReadOnlyAdmin):
    """The same for a table whose key has several parts, which Django's admin has no addresses for: see `show`."""

    change_form_template = "operator/composite_key.html"  # without a history, which such rows have none of

    @override
    def get_changelist(self, request: HttpRequest, **_: Any) -> type[ChangeList]:
        """See above."""
        return _KeyedList

    @override
    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Model | None:
        """The row that an address names, or None."""
        try:
            parts = zip(self.opts.pk_fields, json.loads(object_id), strict=True)
            key = tuple(field.to_python(part) for field, part in parts)
            if any(isinstance(part, datetime) and is_naive(part) for part in key):
                return None
            return self.get_queryset(request).filter(pk=key).first()
        except (ValueError, TypeError, OverflowError, ValidationError):
            return None


def address_of_key(key: tuple[Any, ...]) -> str:
    """The parts of a key as one text."""
    return json.dumps([part.isoformat() if isinstance(part, date) else part for part in key])


def show(model: type[Model], options: type[CompositeKeyAdmin]) -> None:
    """Register a model with a composite key. `register` refuses those, since it cannot know of `CompositeKeyAdmin`."""
    admin.site._registry[model] = options(model, admin.site)
