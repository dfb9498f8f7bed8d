from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("voice", "0003_upload_maker")]

    operations = [
        migrations.AddField(
            model_name="transcriptionjob", name="stalled_s", field=models.PositiveIntegerField(db_default=0)
        ),
    ]
