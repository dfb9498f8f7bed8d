"""What can be wrong with a change to accounts; commands and pages turn these into their own words."""


class AccountError(Exception):
    """Base; the message is for the person who asked."""


class EmailTaken(AccountError):
    """Somebody has this address already."""


class LastOwner(AccountError):
    """An organization must have an owner."""


class AlreadyMember(AccountError):
    """The person is a member already."""


class TooMany(AccountError):
    """More of it than anybody needs."""


class InvitationClosed(AccountError):
    """Accepted, revoked, expired, or never made."""


class NotYours(AccountError):
    """The invitation is for another address."""


class AccountInUse(AccountError):
    """The account cannot be deleted as things stand."""
