import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_trial_grant_user"), ("voice", "0002_upload_deleted")]

    operations = [
        migrations.AddField(
            model_name="upload",
            name="api_key",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="accounts.apikey"
            ),
        ),
        migrations.AddField(
            model_name="upload", name="came_with_job", field=models.BooleanField(default=False)
        ),
    ]
