"""Text that is still being written, cut into what can be spoken: sentences, as soon as each is whole. Pure."""

import re

# The end of a sentence: its mark, what closes a quotation, and a blank, which shows that the mark was not inside a
# number or a name. Marks of Chinese and Japanese need none behind them; a new line ends anything.
END = re.compile(r"[.!?\u2026]+[\"'\u201d\u2019)\]]*(?=\s)|[\u3002\uff01\uff1f]+|\n")
CLAUSE = re.compile(r"[,;:\u2014](?=\s|$)|[\uff0c\uff1b\u3001]")
SHORT_FORMS = frozenset(
    (
        *("mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "etc", "e.g", "i.e"),
        *("approx", "fig", "vol", "dept", "inc", "ltd", "co"),
    )
)
INITIAL = re.compile(r"(?:^|\s)[A-Z]$")
LONGEST = 240  # characters that are waited for; then a clause, or the last word, is the end
EAGER = 24  # characters after which the first clause of all is spoken, so that nobody waits for a long first sentence
LEAST = 2  # characters that are worth a breath of their own
MARKUP = re.compile(r"[*_#`~|]+|^\s*[-\u2022]\s+|\[([^\]]*)\]\([^)]*\)", re.MULTILINE)


class Sentences:
    """Feed pieces of text, get sentences; of a long first one, its first clause before the rest.

    What is said, put together, is the text but for blanks between sentences.
    """

    def __init__(self) -> None:
        self._rest = ""
        self._is_first = True

    def feed(self, text: str) -> list[str]:
        """The sentences that are whole by now."""
        self._rest += text
        found: list[str] = []
        while (end := self._end()) is not None:
            sentence, self._rest = self._rest[:end].strip(), self._rest[end:].lstrip()
            if sentence:
                self._is_first = False
                found.append(sentence)
        return found

    def finish(self) -> list[str]:
        """What is left, as a last sentence."""
        rest, self._rest = self._rest.strip(), ""
        return [rest] if rest else []

    def _end(self) -> int | None:
        for mark in END.finditer(self._rest):
            if mark.group() == "\n" or not self._is_inside(mark):
                return mark.end()
        if self._is_first:
            for clause in CLAUSE.finditer(self._rest, EAGER):
                if clause.end() < len(self._rest):
                    return clause.end()
        if len(self._rest) <= LONGEST:
            return None
        clauses = [mark.end() for mark in CLAUSE.finditer(self._rest, 0, LONGEST)]
        return clauses[-1] if clauses else self._rest.rfind(" ", 0, LONGEST) + 1 or LONGEST

    def _is_inside(self, mark: re.Match[str]) -> bool:
        """Whether the full stop is one of a short form, an initial or a numbered list."""
        before = self._rest[: mark.start()]
        word = before.split()[-1].lower() if before.split() else ""
        if len(before.strip()) < LEAST or not mark.group().startswith("."):
            return len(before.strip()) < LEAST
        return word.lstrip("(\"'") in SHORT_FORMS or bool(INITIAL.search(before)) or before.strip().isdigit()


def speakable(text: str) -> str:
    """The text without marks that are for the eye; empty where nothing is left to be spoken."""
    plain = " ".join(MARKUP.sub(lambda found: found.group(1) or "", text).split())
    return plain if any(character.isalnum() for character in plain) else ""
