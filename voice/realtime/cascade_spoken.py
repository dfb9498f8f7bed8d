"""What a listener has heard of a spoken item that was cut. Pure."""

from voice.realtime.cascade_answer import Item

MS_A_WORD = 350


def heard_until(item: Item, until_ms: int) -> str:
    """The sentences that had ended, and of the one that had not as many words as its share of the time."""
    heard, begin_ms = "", 0
    for said in item.said:
        if said.end_ms > until_ms:
            share = (until_ms - begin_ms) / (said.end_ms - begin_ms)
            words = said.text.split()
            return f"{heard} {' '.join(words[: round(len(words) * share)])}".strip()
        heard += said.text
        begin_ms = said.end_ms
    cut = item.text[len(heard) :].split()  # a sentence that was cut while it was spoken
    return f"{heard} {' '.join(cut[: max(until_ms - begin_ms, 0) // MS_A_WORD])}".strip()
