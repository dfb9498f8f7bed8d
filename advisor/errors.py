"""What can be wrong with a link of a letter, or with an act on advice; pages and commands say it in their own words."""


class LinkRefused(Exception):
    """Base; the message is for whoever followed it."""

    status = 404


class LinkBroken(LinkRefused):
    """Cut or changed on its way, or about what is not the member's any more."""


class LinkExpired(LinkRefused):
    """Its time is over."""

    status = 410


class LinkUsed(LinkRefused):
    """It did what it was for."""

    status = 409


class AdviceClosed(Exception):
    """Answered, expired, or followed by something newer; the message is for whoever asked."""
