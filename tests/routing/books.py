"""What the tests of the gateway ask the books: usage rows, the charge on them, and that all is in order."""

from decimal import Decimal

import orjson

from tests.fakes.journal import Call, Tokens
from tests.stand import Gateway, Tenant
from tests.waiting import wait_until

INPUT_NANO_PER_TOKEN = 3_000  # the stand's default prices: $3.00 and $15.00 per million
OUTPUT_NANO_PER_TOKEN = 15_000
NANO = 10**9


def charge_of(tokens: Tokens) -> int:
    """The charge in nano-USD at the stand's default prices, by the published formula."""
    cost = tokens.prompt * INPUT_NANO_PER_TOKEN + tokens.completion * OUTPUT_NANO_PER_TOKEN
    return cost + -(-cost * 2_500 // 10_000)


def counted_input(call: Call) -> int:
    """Our own count of a request's input: a token for every 4 bytes that went to the provider."""
    return -(-len(orjson.dumps(call.body)) // 4)


def counted(call: Call, frames: int, text: str) -> Tokens:
    """Our own count of a call of which so many frames with so much text were delivered."""
    return Tokens(counted_input(call), max(frames, -(-len(text.encode()) // 4)))


def organization_id(tenant: Tenant) -> int:
    """The tenant's organization."""
    from accounts.queries import organization_of_email

    organization = organization_of_email(tenant.email)
    assert organization is not None
    return organization.pk


def usage_rows(tenant: Tenant) -> list:
    """The tenant's usage rows, the oldest first."""
    from billing.models import UsageRow

    return list(UsageRow.objects.filter(organization_id=organization_id(tenant)).order_by("created_at"))


def claims(tenant: Tenant) -> list:
    """The tenant's calls with an Idempotency-Key."""
    from accounts.models import ApiKey
    from billing.models import IdempotentCall

    keys = ApiKey.objects.filter(organization_id=organization_id(tenant)).values_list("pk", flat=True)
    return list(IdempotentCall.objects.filter(key_id__in=list(keys)))


def only_row(tenant: Tenant, model: str | None = None):
    """The tenant's one usage row (for that model); waits until there is one."""

    def rows() -> list:
        return [row for row in usage_rows(tenant) if model in {None, row.model}]

    (row,) = wait_until(rows, what="a usage row")
    return row


def first_key_id(tenant: Tenant) -> int:
    """The key that the tenant got first."""
    from accounts.models import ApiKey

    return ApiKey.objects.filter(organization_id=organization_id(tenant)).earliest("pk").pk


def set_caps(tenant: Tenant, key: int | None = None, **nano: int | None) -> None:
    """Set the caps of the tenant's key, as a page would."""
    from billing.actions.caps import do_set_caps

    do_set_caps(organization_id(tenant), key or first_key_id(tenant), nano)


def cap_use(tenant: Tenant, period: str) -> tuple[int, int]:
    """Reserved and spent."""
    from billing.queries import caps_of_keys

    status = caps_of_keys(organization_id(tenant), [first_key_id(tenant)])[first_key_id(tenant)][period]
    return status.reserved_nano, status.spent_nano


def paid_nano(gateway: Gateway, tenant: Tenant) -> int:
    """What the wallet holds in paid credit less debt, in nano-USD."""
    wallet = gateway.wallet(tenant.email)
    return int((Decimal(wallet["paid"]) - Decimal(wallet["debt"])) * NANO)


def nothing_is_held(gateway: Gateway, tenant: Tenant) -> bool:
    """Whether every hold of the tenant has ended."""
    return Decimal(gateway.wallet(tenant.email)["held"]) == 0


def assert_in_order(gateway: Gateway, tenant: Tenant, charge_nano: int, credit: str = "10.00") -> None:
    """Nothing is held, exactly `charge_nano` was taken from `credit`, and the audit finds nothing."""
    from billing.ledger.verify import differences

    wait_until(lambda: nothing_is_held(gateway, tenant), what="every hold to end")
    assert int(Decimal(credit) * NANO) - paid_nano(gateway, tenant) == charge_nano
    found = list(differences())
    assert not found, found
