"""All settings of an installation. Every number has its unit in its name; the environment is read through `env` only.

docs/settings.md documents each one; a test keeps the two equal.
"""

from pathlib import Path

from django.utils.csp import CSP

from komilion import env

BASE_DIR = Path(__file__).resolve().parent.parent

# Where and how the server runs.
HOST = env.text("HOST", "127.0.0.1")
PORT = env.whole_number("PORT", 8000, least=1, most=65535)
WORKERS = env.whole_number("WORKERS", 1, least=1, most=256)
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
DATA_DIR = env.folder("DATA_DIR", env.DEFAULT_DATA_DIR)
INSTANCE = env.load_instance(DATA_DIR)
REDIS_URL = env.redis_url("REDIS_URL", INSTANCE.valkey_url)
EMBEDDED_VALKEY = not env.text("REDIS_URL", "")
LOCAL_MODELS_URL = f"http://127.0.0.1:{INSTANCE.local_models_port}/v1"

# Secrets. SECRET_KEY and KEY_PEPPER are made once in the data folder unless the environment names them.
SECRET_KEY = env.secret("SECRET_KEY", INSTANCE.secret_key)
KEY_PEPPER = env.secret("KEY_PEPPER", INSTANCE.key_pepper).encode()
CREDENTIAL_KEYS = env.fernet_keys("CREDENTIAL_KEYS", INSTANCE.credential_key)  # newest first

# Where people find it: the address in e-mails, and whether cookies demand TLS.
PUBLIC_URL = env.public_url("PUBLIC_URL", HOST, PORT)
BEHIND_PROXY = env.switch("BEHIND_PROXY", default=False)  # a reverse proxy of ours sets X-Forwarded-For and -Proto
IS_TLS = PUBLIC_URL.startswith("https://")

# Django.
DEBUG = False
ALLOWED_HOSTS = env.text("ALLOWED_HOSTS", "*").split(",")
ROOT_URLCONF = "komilion.urls"
ASGI_APPLICATION = "komilion.asgi.application"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "accounts",
    "billing",
    "routing",
    "komilion.web",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "komilion.web.static_files.StaticFilesMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "komilion.web.middleware.ViewerMiddleware",
    "komilion.web.middleware.ErrorPageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "builtins": ["komilion.web.templatetags.komilion"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.csp",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "komilion.web.context.site",
            ],
        },
    }
]
DATABASES = {"default": env.database(env.text("DATABASE_URL", ""), DATA_DIR)}
AUTH_USER_MODEL = "accounts.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# What a browser may do with our pages.
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF, CSP.NONCE],
    "style-src": [CSP.SELF, CSP.NONCE],
    "img-src": [CSP.SELF, "data:"],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
    "base-uri": [CSP.NONE],
    "manifest-src": [CSP.SELF],
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = IS_TLS
SECURE_REDIRECT_EXEMPT = [r"^health", r"^metrics$"]  # asked from inside, without TLS
SECURE_HSTS_SECONDS = 31_536_000 if IS_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = IS_TLS
SECURE_HSTS_PRELOAD = IS_TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_TLS
SESSION_COOKIE_NAME = "__Host-komilion" if IS_TLS else "komilion"
CSRF_COOKIE_NAME = "__Host-csrf" if IS_TLS else "csrf"
CSRF_COOKIE_HTTPONLY = True
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SESSION_COOKIE_AGE = 14 * 86_400

# Accounts and e-mail (django-allauth): an address and a password, the address verified.
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
LOGIN_REDIRECT_URL = "/dashboard"
LOGOUT_REDIRECT_URL = "/"
MAILERS = {
    "default": {
        "BACKEND": "django.core.mail.backends.filebased.EmailBackend",
        "OPTIONS": {"file_path": DATA_DIR / "mail"},
    }
}

# Paying.
TEST_PAYMENTS = env.switch("TEST_PAYMENTS", default=False)

# The REST API.
REST_FRAMEWORK = {"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"}

# Celery; the beat schedule lives in Redis (celery-redbeat), so it survives restarts and runs once.
CELERY_BROKER_URL = env.broker_url(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_BEAT_SCHEDULER = "redbeat.RedBeatScheduler"
CELERY_REDBEAT_REDIS_URL = REDIS_URL
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

# Gateway behaviour.
COMPAT_NAMES = env.switch("COMPAT_NAMES", default=True)  # x_kairosroute and X-KairosRoute-* on /v1

# Limits towards clients.
BODY_LIMIT_BYTES = 20 * 2**20
BODY_TIMEOUT_S = 60
BODY_MINIMUM_BYTES_PER_S = 1_000
BODIES_IN_FLIGHT_BYTES = 256 * 2**20
JSON_TOKENS_LIMIT = 1_000_000
JSON_DEPTH_LIMIT = 200
HEADER_LIMIT_BYTES = 32 * 2**10
HEADER_TIMEOUT_S = 10
WRITE_STALL_S = 30
COMMENT_FRAME_EVERY_S = 15
SHUTDOWN_GRACE_S = 30

# Limits towards providers.
CONNECT_TIMEOUT_S = 5
TOTAL_TIMEOUT_S = 590
FIRST_CONTENT_TIMEOUT_S = 60
FRAME_GAP_TIMEOUT_S = 20
REASONING_TIMEOUT_S = 300
ANSWER_BASE_S = 15
UNKNOWN_TOKENS_PER_S = 20
UPSTREAM_LINE_LIMIT_BYTES = 8 * 2**20
UPSTREAM_HEADER_LIMIT_BYTES = 32 * 2**10
UPSTREAM_BODY_LIMIT_BYTES = 32 * 2**20

# Money.
FEE_BASIS_POINTS = 2_500
START_OUTPUT_TOKENS = 256
STREAM_HOLD_OUTPUT_TOKENS = 4_096
HOLD_LIFETIME_S = TOTAL_TIMEOUT_S + 70
SETTLEMENT_WAIT_S = 5
HEARTBEAT_EVERY_S = 3
PROCESS_GONE_AFTER_S = 15
REAP_EVERY_S = 10

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "komilion.common.logging.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
}
