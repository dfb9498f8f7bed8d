"""Pages behind links, as somebody without scripts reads them and presses their buttons."""

import re
from typing import Any

from django.test import Client


def says(response: Any) -> str:
    """The words of a page."""
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def press(browser: Client, path: str, **form: str) -> Any:
    """Look at the page and press its button, the one that says so where there are several."""
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get(path).content.decode())
    assert token is not None
    return browser.post(path, {"csrfmiddlewaretoken": token[1], **form})
