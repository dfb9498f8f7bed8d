"""Which pages the browser walks, and as whom: one line each. A new page gets its line here."""

from dataclasses import dataclass, field
from typing import Literal

type Who = Literal["anybody", "owner"]


@dataclass(frozen=True)
class SitePage:
    """A page: its path (`{names}` are filled from the stand), who visits, the status it answers with."""

    path: str
    who: Who = "anybody"
    status: int = 200
    without: str = ""  # selector of a part that is not ours, which axe-core does not judge
    widths: tuple[int, ...] = field(default=(360, 1_440))


SITE_PAGES = [
    SitePage("/"),
    SitePage("/models"),
    SitePage("/models?q=nothing-like-it"),
    SitePage("/models?most=cheap"),
    SitePage("/models/{model}"),
    SitePage("/pricing"),
    SitePage("/docs"),
    SitePage("/docs/chat"),
    SitePage("/docs/models"),
    SitePage("/docs/keys"),
    SitePage("/docs/usage"),
    SitePage("/docs/simple-chat"),
    SitePage("/docs/idempotency"),
    SitePage("/docs/errors"),
    SitePage("/docs/limits"),
    SitePage("/docs/charging-policy"),
    SitePage("/docs/money"),
    SitePage("/api/docs", without="#explorer"),
    SitePage("/nothing", status=404),
    SitePage("/models/nobody/nothing", status=404),
    SitePage("/auth/login/"),
    SitePage("/auth/signup/"),
    SitePage("/auth/password/reset/"),
    *(
        SitePage(path, "owner")
        for path in (
            "/dashboard",
            "/dashboard?days=30",
            "/dashboard/usage",
            "/dashboard/usage?model=nothing",
            "/dashboard/usage/{request}",
            "/dashboard/keys",
            "/dashboard/keys/new",
            "/dashboard/keys/{key}",
            "/dashboard/wallet",
            "/dashboard/wallet/statement",
            "/dashboard/wallet/receipts/{payment}",
            "/dashboard/wallet/payments/{payment}/refund",
            "/dashboard/members",
            "/dashboard/organizations",
            "/dashboard/audit",
            "/dashboard/account",
            "/dashboard/account/delete",
            "/auth/password/change/",
            "/auth/email/",
            "/auth/logout/",
            "/auth/2fa/",
            "/auth/reauthenticate/",
        )
    ),
    SitePage("/dashboard/usage/gen-nothing", "owner", status=404),
]
