"""What attempts that brought the caller nothing cost the house, beside each call."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A constant default: PostgreSQL rewrites no partition."""

    dependencies = [("billing", "0003_caps_payments_rollups")]

    operations = [
        migrations.AddField(
            model_name="usagerow",
            name="attempt_loss_nano",
            field=models.BigIntegerField(db_default=0),
        ),
    ]
