"""Monthly partitions of the usage table on PostgreSQL; on SQLite it is one table and nothing here does anything.

A default partition catches what no month covers, so a late monthly job can never stop a settlement.
"""

from datetime import date
from typing import Any, override

from django.db import connection
from django.db.migrations.operations import CreateModel

TABLE = "billing_usagerow"
MONTHS_AHEAD = 3


class CreatePartitionedModel(CreateModel):
    """`CreateModel` whose table is partitioned by range of `created_at` where the database is PostgreSQL."""

    @override
    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Create the table, its indexes and the default partition."""
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.name)
        sql, params = schema_editor.table_sql(model)
        schema_editor.execute(f"{sql} PARTITION BY RANGE (created_at)", params)
        schema_editor.execute(f"CREATE TABLE {TABLE}_default PARTITION OF {TABLE} DEFAULT")
        for index in model._meta.indexes:
            schema_editor.add_index(model, index)


def _month_start(day: date, months: int) -> date:
    years, month = divmod(day.month - 1 + months, 12)
    return date(day.year + years, month + 1, 1)


def ensure_partitions(today: date) -> list[str]:
    """Make the partitions of this month and the next `MONTHS_AHEAD`; returns the names of those it made.

    A month whose rows already went to the default partition stays there: moving rows is an operator's decision.
    """
    if connection.vendor != "postgresql":
        return []
    made = []
    with connection.cursor() as cursor:
        for ahead in range(MONTHS_AHEAD + 1):
            start, end = _month_start(today, ahead), _month_start(today, ahead + 1)
            name = f"{TABLE}_{start:%Y_%m}"
            cursor.execute(
                f"SELECT to_regclass(%s) IS NULL AND NOT EXISTS (SELECT 1 FROM {TABLE}_default"
                " WHERE created_at >= %s AND created_at < %s)",
                [name, start, end],
            )
            row = cursor.fetchone()
            if row is not None and row[0]:
                cursor.execute(f"CREATE TABLE {name} PARTITION OF {TABLE} FOR VALUES FROM ('{start}') TO ('{end}')")
                made.append(name)
    return made
