"""What somebody agrees to who switches automatic top-up on. A change of the text is a change of its version."""

MANDATE_VERSION = "2026-11"
MANDATE_TEXT = (
    "I authorise this service to charge the saved card, without asking me each time, the amount named here whenever "
    "the wallet's credit falls below the threshold named here, at most up to the daily cap named here. A card fee and "
    "taxes may be added as shown at a top-up. I can switch this off at any time; it also switches itself off when the "
    "card is declined twice, when its bank asks for me, when a payment is disputed, and when the wallet is in debt."
)
