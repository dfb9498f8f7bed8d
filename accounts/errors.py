"""What can be wrong with a change to accounts; commands and pages turn these into their own words."""


class AccountError(Exception):
    """Base; the message is for the person who asked."""


class EmailTaken(AccountError):
    """Somebody has this address already."""
