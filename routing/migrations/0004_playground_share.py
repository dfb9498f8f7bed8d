import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ('routing', '0002_shipped_catalogue'),
        ('routing', '0003_pins_and_feedback'),
    ]

    operations = [
        migrations.CreateModel(
            name='PlaygroundShare',
            fields=[
                ('id', models.CharField(max_length=32, primary_key=True, serialize=False)),
                ('title_sealed', models.BinaryField()),
                ('content_sealed', models.BinaryField()),
                ('created_at', models.DateTimeField()),
                ('author', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.organization')),
            ],
            options={
                'indexes': [models.Index(fields=['organization', 'created_at'], name='shares_of_an_organization')],
            },
        ),
    ]
