"""Names that people give to what is theirs: what stands in a list must be seen, and look like what it is.

Marks that turn the direction of writing make a name, and what stands beside it, read as something else; a name of
characters without a shape is an empty row.
"""

import re
import unicodedata

HIDDEN_CATEGORIES = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}  # control, format, unassigned, private, separators
BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # letters and signs that show nothing
JOINERS = re.compile("(?<=[^\x00-\x7f])[\u200c\u200d](?=[^\x00-\x7f])")  # parts of words in some scripts, and of emoji


def hidden_characters(name: str) -> str:
    """Those characters of a name that nobody sees, spaces aside."""
    rest = JOINERS.sub("", name)
    return "".join(char for char in rest if char in BLANKS or unicodedata.category(char) in HIDDEN_CATEGORIES)
