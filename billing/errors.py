"""What can go wrong between the ledger and its database, and what the ledger refuses."""


class StoreUnavailable(Exception):
    """The database cannot be reached or the connection broke; whether the last commit happened is unknown."""


class StoreBusy(Exception):
    """A lock could not be had in time; nothing was changed."""


class StoreRefused(Exception):
    """The database refused a statement because of what is in it; the batch was rolled back."""


class StoreConflict(StoreRefused):
    """A row that may exist once was there already; what the batch wanted has happened before, at least in part."""


class MovementRefused(Exception):
    """The ledger did not accept the movement; the message says why."""


class PaymentError(Exception):
    """What a person asked for cannot be done; the message is for that person."""


class InvalidTopUp(PaymentError):
    """The amount is below or above what a top-up may be."""


class InvalidRecharge(PaymentError):
    """Automatic top-up cannot be set up like that."""


class NotRefundable(PaymentError):
    """Nothing of the payment can be given back, or not now."""
