"""The settings as plain attributes, for code that reads them thousands of times a second.

`django.conf.settings` looks every name up through a lazy object, which costs a microsecond; the path of one request
reads some thirty of them. Tests that override a setting are followed through Django's signal.
"""

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.signals import setting_changed

if TYPE_CHECKING:
    numbers = settings
else:
    ours = [name for name in dir(settings) if name.isupper() and settings.is_overridden(name)]
    numbers = SimpleNamespace(**{name: getattr(settings, name) for name in ours})


def _follow(*, setting: str, **_: Any) -> None:
    setattr(numbers, setting, getattr(settings, setting, None))


setting_changed.connect(_follow, dispatch_uid="komilion.common.numbers")
