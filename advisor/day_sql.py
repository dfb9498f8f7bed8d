"""The SQL of one day's evidence, in the dialect of the database at hand; rows never pass through Python on PostgreSQL.

A call becomes a row of `facts`, whatever the dialect; what is counted of it is written once. Times are UTC.
"""

from dataclasses import dataclass

from billing.cubes import is_postgres
from routing.gateway.forms import CHATS
from routing.gateway.verdicts import VERDICTS

TABLE = "advisor_dayevidence"
DIMENSIONS = ("organization_id", "task", "model", "way", "policy")
BUCKETS = ("input", "cache_read", "cache_write", "cache_write_1h", "input_image", "cache_read_image", "output")
LEAST_OUTPUT = 1  # tokens; an answer of none says nothing about lengths


def _texts(names: tuple[str, ...]) -> str:
    return f"({', '.join(f"'{name}'" for name in names)})"


def _is_open(table: str) -> str:
    """An organization whose members are all gone is closed: so is its evidence, and does not come back."""
    return (
        "EXISTS (SELECT 1 FROM accounts_membership m JOIN accounts_user p ON p.id = m.user_id AND p.is_active"
        f" WHERE m.organization_id = {table}.organization_id)"
    )


FAULTS = _texts(tuple(kind for kind, verdict in VERDICTS.items() if verdict.weight != "nothing"))
REFUSALS = _texts(tuple(kind for kind, verdict in VERDICTS.items() if verdict.weight == "nothing"))
CHATS_OF_DAY = f"u.created_at >= %s AND u.created_at < %s AND u.endpoint IN {_texts(CHATS)} AND {_is_open('u')}"

# What one row of `facts` `f` adds; a provider that refuses what the caller sent is not at fault.
ANSWERED = f"f.outcome = 'completed' AND f.finish_reason <> 'length' AND f.output >= {LEAST_OUTPUT}"
LOG_OUTPUT = "LN(CAST(f.output AS double precision))"
LOG_MS = "LN(CAST(CASE WHEN f.duration_ms > 1 THEN f.duration_ms ELSE 1 END AS double precision))"
COUNTS = {
    "requests": "1",
    "failed": f"CASE WHEN f.outcome IN ('provider_failed', 'provider_cut') AND f.last_error NOT IN {REFUSALS}"
    " THEN 1 ELSE 0 END",
    "retried": "CASE WHEN f.tries > 1 THEN 1 ELSE 0 END",
    "cut": "CASE WHEN f.outcome = 'completed' AND f.finish_reason = 'length' THEN 1 ELSE 0 END",
    **{bucket: f"f.{bucket}" for bucket in BUCKETS},
    "charge_nano": "f.charge_nano",
    "answered": f"CASE WHEN {ANSWERED} THEN 1 ELSE 0 END",
    "rated": "CASE WHEN f.difficulty IS NULL THEN 0 ELSE 1 END",
}
FIGURES = {
    "log_output": f"CASE WHEN {ANSWERED} THEN {LOG_OUTPUT} ELSE 0.0 END",
    "log_output_square": f"CASE WHEN {ANSWERED} THEN {LOG_OUTPUT} * {LOG_OUTPUT} ELSE 0.0 END",
    "log_ms": f"CASE WHEN {ANSWERED} THEN {LOG_MS} ELSE 0.0 END",
    "log_ms_square": f"CASE WHEN {ANSWERED} THEN {LOG_MS} * {LOG_MS} ELSE 0.0 END",
    "difficulty": "COALESCE(f.difficulty, 0.0)",
}
VOTES = ("votes", "score")
COLUMNS = ("day", *DIMENSIONS, *COUNTS, *FIGURES, "passed_on", *VOTES)
KEYS = ", ".join(("day", *DIMENSIONS))
INSERT = f"INSERT INTO {TABLE} ({', '.join(COLUMNS)})"
REMOVE = f"DELETE FROM {TABLE} WHERE day = %s"


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one day: `query` gives them in the order of `COLUMNS`; parameters: the day, its start, its end.

    `conflict` says what becomes of a row that another part has put in.
    """

    query: str
    conflict: str = ""

    @property
    def insert(self) -> str:
        """Put in what the query finds."""
        return f"{INSERT} {self.query} {self.conflict}"

    @property
    def insert_values(self) -> str:
        """Put in one row that it found."""
        return f"{INSERT} VALUES ({', '.join(['%s'] * len(COLUMNS))}) {self.conflict}"


def parts() -> tuple[Part, Part]:
    """All of a day, in the order in which it is put in: calls, then votes."""
    return Part(_calls()), Part(_votes(), f"ON CONFLICT ({KEYS}) DO UPDATE SET {_taken(VOTES)}")


def sums_by_organization() -> str:
    """Calls and charge of each organization: of the evidence, of the usage rows; parameters: day, start, end."""
    return (
        "SELECT organization_id, CAST(SUM(told) AS bigint), CAST(SUM(calls) AS bigint), CAST(SUM(told_nano) AS bigint),"
        " CAST(SUM(nano) AS bigint) FROM (SELECT organization_id, requests AS told, 0 AS calls, charge_nano AS"
        f" told_nano, 0 AS nano FROM {TABLE} WHERE day = %s UNION ALL SELECT u.organization_id, 0, 1, 0, u.charge_nano"
        f" FROM billing_usagerow u WHERE {CHATS_OF_DAY}) b GROUP BY organization_id"
        " HAVING SUM(told) <> SUM(calls) OR SUM(told_nano) <> SUM(nano) ORDER BY organization_id"
    )


def _taken(names: tuple[str, ...]) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in names)


def _day() -> str:
    return "CAST(%s AS date)" if is_postgres() else "%s"  # SQLite would make a number of it


def _calls() -> str:
    """Sums over each call, and over each model that was to answer one, failed, and was replaced by another.

    `p` makes two rows of the latter: one of the model that answered, and one of that which passed it on.
    """
    measures = COUNTS | FIGURES
    rows = (
        "SELECT f.organization_id, f.task, CASE WHEN p.passed = 1 THEN f.instead_of ELSE f.model END AS model,"
        " CASE WHEN f.policy = '' THEN 'named' WHEN f.rule = 'pinned' AND (f.instead_of IS NULL OR p.passed = 1"
        " OR f.model = f.pin)"
        f" THEN 'pinned' ELSE 'policy' END AS way, f.policy, p.passed, {_named(measures)}"
        f" FROM ({facts()}) f JOIN (SELECT 0 AS passed UNION ALL SELECT 1) p ON p.passed = 0 OR f.is_passed_on"
    )
    counts = ", ".join(f"CAST(COALESCE(SUM({name}) FILTER (WHERE passed = 0), 0) AS bigint)" for name in COUNTS)
    figures = ", ".join(f"COALESCE(SUM({name}) FILTER (WHERE passed = 0), 0.0)" for name in FIGURES)
    names = ", ".join(DIMENSIONS)
    return (  # in order, so that what is read together lies together
        f"SELECT {_day()}, {names}, {counts}, {figures}, CAST(SUM(passed) AS bigint), 0, 0.0"
        f" FROM ({rows}) r GROUP BY {names} ORDER BY organization_id"
    )


def _named(columns: dict[str, str]) -> str:
    return ", ".join(f"{expression} AS {name}" for name, expression in columns.items())


def choice_says(name: str) -> str:
    """What the receipt of a call `u` says under this name, as a text; in what `facts` selects."""
    return f"d.choice ->> '{name}'" if is_postgres() else f"u.detail ->> '$.choice.{name}'"


def facts(also: str = "", source: str = "", where: str = CHATS_OF_DAY) -> str:
    """One row for each call `u`: what its row, its detail and its usage say, in columns.

    `also` are columns beside those, `source` joins other tables.
    """
    plain = f"{also}u.organization_id, u.created_at, u.model, u.outcome, u.charge_nano, u.duration_ms"
    if is_postgres():
        detail = (
            "task_type text, difficulty double precision, finish_reason text, instead_of text, policy text,"
            " choice jsonb, attempts jsonb"
        )
        usage = ", ".join(f"{bucket} bigint" for bucket in BUCKETS)
        return (  # each object is taken apart once: `->>` would unpack the whole for every field
            f"SELECT {plain}, COALESCE(d.task_type, '') AS task, d.difficulty,"
            " COALESCE(d.finish_reason, '') AS finish_reason, d.instead_of, d.choice ->> 'rule' AS rule,"
            " d.choice ->> 'pin' AS pin,"
            " COALESCE(d.choice ->> 'policy', d.policy, '') AS policy, jsonb_array_length(d.attempts) AS tries,"
            " COALESCE(d.attempts -> -1 ->> 'error', '') AS last_error,"
            f" {_named({bucket: f'COALESCE(t.{bucket}, 0)' for bucket in BUCKETS})},"
            " CASE WHEN d.instead_of IS NULL THEN FALSE ELSE EXISTS (SELECT 1 FROM jsonb_array_elements(d.attempts) a"
            f" WHERE a ->> 'model' = d.instead_of AND a ->> 'error' IN {FAULTS}) END AS is_passed_on"
            f" FROM billing_usagerow u {source} CROSS JOIN LATERAL jsonb_to_record(u.detail) AS d({detail})"
            f" CROSS JOIN LATERAL jsonb_to_record(u.usage) AS t({usage}) WHERE {where}"
        )
    return (
        f"SELECT {plain}, COALESCE(u.detail ->> '$.task_type', '') AS task, u.detail ->> '$.difficulty' AS difficulty,"
        " COALESCE(u.detail ->> '$.finish_reason', '') AS finish_reason, u.detail ->> '$.instead_of' AS instead_of,"
        " u.detail ->> '$.choice.rule' AS rule, u.detail ->> '$.choice.pin' AS pin,"
        " COALESCE(u.detail ->> '$.choice.policy', u.detail ->> '$.policy', '') AS policy,"
        " json_array_length(u.detail, '$.attempts') AS tries,"
        " COALESCE(u.detail ->> '$.attempts[#-1].error', '') AS last_error,"
        f" {_named({bucket: f"COALESCE(u.usage ->> '$.{bucket}', 0)" for bucket in BUCKETS})},"
        " EXISTS (SELECT 1 FROM json_each(u.detail, '$.attempts') a WHERE a.value ->> '$.model' ="
        f" u.detail ->> '$.instead_of' AND a.value ->> '$.error' IN {FAULTS}) AS is_passed_on"
        f" FROM billing_usagerow u {source} WHERE {where}"
    )


def _votes() -> str:
    """Votes that were given on the day, whenever the answer came: the vote's own row says how it was chosen."""
    rule = "f.features ->> 'rule'" if is_postgres() else "f.features ->> '$.rule'"
    way = f"CASE WHEN f.policy = '' THEN 'named' WHEN {rule} = 'pinned' THEN 'pinned' ELSE 'policy' END"
    nothing = ", ".join([*("0" for _ in COUNTS), *("0.0" for _ in FIGURES), "0"])
    return (
        f"SELECT {_day()}, f.organization_id, f.task, f.model, {way}, f.policy, {nothing}, COUNT(*), SUM(f.score)"
        f" FROM routing_feedback f WHERE f.created_at >= %s AND f.created_at < %s AND {_is_open('f')}"
        f" GROUP BY f.organization_id, f.task, f.model, {way}, f.policy"
    )
