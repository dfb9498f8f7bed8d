"""Foreign keys that the ledger's own transaction makes sure of, and an index that nothing reads (see models.hold)."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Tables keep their rows; on PostgreSQL nothing is rewritten."""

    dependencies = [("billing", "0001_initial")]

    operations = [
        migrations.RemoveIndex(model_name="hold", name="hold_open_by_wallet"),
        *(
            migrations.AlterField(
                model_name=model,
                name="wallet",
                field=models.ForeignKey(
                    db_constraint=False,
                    db_index=False,
                    on_delete=django.db.models.deletion.PROTECT,
                    related_name=related_name,
                    to="billing.wallet",
                ),
            )
            for model, related_name in (("hold", "holds"), ("ledgerentry", "entries"), ("posting", "postings"))
        ),
        migrations.AlterField(
            model_name="posting",
            name="entry",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="postings",
                to="billing.ledgerentry",
            ),
        ),
    ]
