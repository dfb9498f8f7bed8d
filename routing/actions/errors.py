"""What a change of the catalogue is refused with."""


class CatalogError(ValueError):
    """The change makes no sense; the message names the field."""
