from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("voice", "0001_initial")]

    operations = [
        migrations.AlterField(
            model_name="upload",
            name="state",
            field=models.CharField(
                choices=[("waiting", "Waiting"), ("received", "Received"), ("deleted", "Deleted")],
                default="waiting",
                max_length=8,
            ),
        ),
    ]
