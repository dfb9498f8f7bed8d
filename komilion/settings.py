"""All settings of an installation. Every number has its unit in its name; the environment is read through `env` only.

docs/settings.md documents each one; a test keeps the two equal.
"""

import sys
from pathlib import Path

from django.utils.csp import CSP

from komilion import env
from komilion.mail_url import mailers, sender, webhooks

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
REDIS_PREFIX = env.redis_prefix(KEY_PEPPER)  # of every key and channel, so that installations can share one Redis

# Where people find it: the address in e-mails, and whether cookies demand TLS.
PUBLIC_URL = env.public_url("PUBLIC_URL", HOST, PORT)
BEHIND_PROXY = env.switch("BEHIND_PROXY", default=False)  # a reverse proxy of ours sets X-Forwarded-For and -Proto
METRICS_TOKEN = env.optional_secret("METRICS_TOKEN")  # who sends it may read /metrics
IS_TLS = PUBLIC_URL.startswith("https://")

# Logging in with an account elsewhere: where the pair of a provider is set.
SOCIAL_LOGINS = env.social_logins(
    google=(env.text("SOCIAL_GOOGLE_CLIENT_ID", ""), env.text("SOCIAL_GOOGLE_CLIENT_SECRET", "")),
    github=(env.text("SOCIAL_GITHUB_CLIENT_ID", ""), env.text("SOCIAL_GITHUB_CLIENT_SECRET", "")),
)

# Django.
DEBUG = False
ALLOWED_HOSTS = env.text("ALLOWED_HOSTS", "*").split(",")
ROOT_URLCONF = "komilion.urls"
ASGI_APPLICATION = "komilion.asgi.application"
_is_runserver = sys.argv[1:2] == ["runserver"]  # by daphne, whose Twisted no other process should pay for
INSTALLED_APPS = [
    *(["daphne"] if _is_runserver else []),
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
    "advisor",
    "voice",
    "komilion.web",
    *(f"allauth.socialaccount.providers.{name}" for name in SOCIAL_LOGINS),
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "komilion.web.static_files.StaticFilesMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "komilion.web.permissions.PermissionsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "komilion.web.middleware.ViewerMiddleware",
    "komilion.web.wrong_method.WrongMethodMiddleware",
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
SECURE_CSP: dict[str, list[str]] = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF, CSP.NONCE],
    "style-src": [CSP.SELF, CSP.NONCE],
    "img-src": [CSP.SELF, "data:"],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF, PUBLIC_URL.replace("http", "ws", 1)],  # older browsers' 'self' leaves out WebSockets
    "media-src": [CSP.SELF, "blob:"],
    "form-action": [CSP.SELF, *(env.SOCIAL_ORIGINS[name] for name in SOCIAL_LOGINS)],  # browsers check redirects too
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

# Accounts (django-allauth): an address and a password, the address verified before anything opens.
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_RESET_TIMEOUT = 3_600
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/dashboard"
LOGOUT_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "komilion.web.people.adapters.AccountAdapter"
ACCOUNT_FORMS = {
    "signup": "komilion.web.people.forms.SignupForm",
    "reset_password": "komilion.web.people.forms.ResetPasswordForm",
}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_CHANGE_EMAIL = True  # one address a person; the new one takes over when it is verified
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True  # in the browser that signed up, nowhere else
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_RATE_LIMITS = {  # failed logins have a lock of their own, see komilion/web/people/limits.py
    "signup": "30/h/ip",
    "signup_address": "5/h/key",
    "signup_mail": "1/m/key",  # the form takes it before the old link is void, `confirm_email` is taken by the mail
    "login": "30/m/ip",
    "login_failed": "10/m/ip,5/5m/key",  # codes of the second factor
    "confirm_email": "1/m/key,10/d/key",
    "reset_password": "20/h/ip,5/h/key",
}
MFA_ADAPTER = "komilion.web.people.adapters.MfaAdapter"
MFA_TOTP_ISSUER = "Komilion"
MFA_ALLOW_UNVERIFIED_EMAIL = True  # a new address has no effect before it is verified
SOCIALACCOUNT_ADAPTER = "komilion.web.people.adapters.SocialAccountAdapter"
SOCIALACCOUNT_PROVIDERS = SOCIAL_LOGINS
INVITATION_DAYS = 7

# Trial credit: once a person, within a budget for everybody together.
TRIAL_CREDIT_NANO = env.us_dollars("TRIAL_CREDIT", "5.00")  # 0: none
TRIAL_DAILY_BUDGET_NANO = env.us_dollars("TRIAL_DAILY_BUDGET", "500.00")
TRIAL_DAYS = 90
TRIAL_GRANTS_A_DAY_PER_IP = 10

# E-mail, and the limits that sign-up and login count in Redis.
MAILERS = mailers(env.text("MAIL_URL", ""), DATA_DIR)
ANYMAIL = webhooks(MAILERS, env.optional_secret("MAIL_WEBHOOK_SECRET"), env.text("MAIL_WEBHOOK_SIGNING_KEY", ""))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = sender(env.text("MAIL_FROM", ""), PUBLIC_URL)
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": f"{REDIS_PREFIX}cache",
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 2},
    }
}
ADVISOR_LETTERS_PER_S = env.whole_number("ADVISOR_LETTERS_PER_S", 5, least=1, most=1_000)
ADVISOR_SEND_EVERY_S = 15

# Paying. Amounts in US cents.
SELLER = env.text("SELLER", PUBLIC_URL)  # on receipts: who sells the credit, with an address
TEST_PAYMENTS = env.switch("TEST_PAYMENTS", default=False)
if TEST_PAYMENTS:  # also where neither `komilion.asgi` nor our own server looks at it: by WSGI
    MIDDLEWARE.insert(0, "komilion.only_here.OnlyHereMiddleware")
STRIPE_SECRET_KEY = env.stripe_key("STRIPE_SECRET_KEY")
STRIPE_WEBHOOK_SECRETS = env.words("STRIPE_WEBHOOK_SECRETS")  # several while one replaces the other
STRIPE_API_BASE = env.base_url("STRIPE_API_BASE", "https://api.stripe.com")
STRIPE_TAX = env.switch("STRIPE_TAX", default=False)
TOPUP_MINIMUM_CENTS = 500
TOPUP_MAXIMUM_CENTS = 1_000_000
TOPUP_FEE_BASIS_POINTS = env.whole_number("TOPUP_FEE_BASIS_POINTS", 0, most=10_000)
STRIPE_CONNECT_TIMEOUT_S = 5
STRIPE_TIMEOUT_S = 20
WEBHOOK_TOLERANCE_S = 300
WEBHOOK_BODY_LIMIT_BYTES = 512 * 2**10
RECHARGE_RETRY_S = 23 * 3_600
RECHARGE_PAUSE_S = 3_600
PAYMENT_EVIDENCE_DAYS = 540  # the longest that card networks let a bank take money back

# The REST API.
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.api.authentication.KeyAuthentication",
        "accounts.api.authentication.PersonAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.api.permissions.SomebodyAsks"],
    "DEFAULT_THROTTLE_CLASSES": ["accounts.api.throttling.PerMinute"],
    "DEFAULT_PARSER_CLASSES": ["accounts.api.json.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["accounts.api.json.ExactJSONRenderer"],
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "accounts.api.exceptions.handle_exception",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Komilion",
    "DESCRIPTION": "One key, one prepaid wallet, every model. Inference speaks OpenAI's dialect; the rest manages keys "
    "and reads usage.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "SORT_OPERATIONS": False,
    "PATH_CONVERTER_OVERRIDES": {"id": {"type": "integer"}},
    "POSTPROCESSING_HOOKS": ["komilion.web.rest.openapi.complete"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# Celery; the beat schedule lives in Redis (celery-redbeat), so it survives restarts and runs once.
CELERY_BROKER_URL = env.broker_url(REDIS_URL)
CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": f"{REDIS_PREFIX}jobs:"}
CELERY_REDBEAT_KEY_PREFIX = f"{REDIS_PREFIX}beat:"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_BEAT_SCHEDULER = "komilion.beat.Scheduler"
CELERY_REDBEAT_REDIS_URL = REDIS_URL
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

# URLs that callers give us, see komilion/common/egress.py: hosts and networks that need not be public, nor https.
EGRESS_ALLOW = env.hosts_and_networks("EGRESS_ALLOW")

# Gateway behaviour.
COMPAT_NAMES = env.switch("COMPAT_NAMES", default=True)  # x_kairosroute and X-KairosRoute-* on /v1

# Limits towards clients.
BODY_LIMIT_BYTES = 20 * 2**20
SPEECH_BODY_LIMIT_BYTES = 25 * 2**20
SPEECH_TEXT_LIMIT_CHARACTERS = 50_000
BODY_TIMEOUT_S = 60
BODY_MINIMUM_BYTES_PER_S = 1_000
BODIES_IN_FLIGHT_BYTES = 256 * 2**20
JSON_TOKENS_LIMIT = 1_000_000
JSON_DEPTH_LIMIT = 200
HEADER_LIMIT_BYTES = 32 * 2**10
HEADER_TIMEOUT_S = 10
WRITE_STALL_S = 30
COMMENT_FRAME_EVERY_S = 15
IDEMPOTENT_ANSWER_LIMIT_BYTES = 4 * 2**20
IDEMPOTENCY_LIFETIME_S = 86_400
SHUTDOWN_GRACE_S = 30

# The REST API and the keys it manages.
API_REQUESTS_PER_MINUTE = 300
API_BODY_LIMIT_BYTES = 64 * 2**10
KEYS_PER_ORGANIZATION = 1_000

# Runs of the playground that are kept to be opened by link.
SHARE_LIMIT_BYTES = 2**20
SHARES_PER_ORGANIZATION = 500

# Uploads of audio: on this machine's disk, or in a bucket of S3's kind.
VOICE_BUCKET = env.text("VOICE_BUCKET", "")
VOICE_BUCKET_ENDPOINT = env.base_url("VOICE_BUCKET_ENDPOINT", "https://s3.amazonaws.com")
VOICE_BUCKET_REGION = env.text("VOICE_BUCKET_REGION", "us-east-1")
VOICE_BUCKET_KEY_ID = env.text("VOICE_BUCKET_KEY_ID", "")
VOICE_BUCKET_SECRET = env.optional_secret("VOICE_BUCKET_SECRET")
if VOICE_BUCKET:  # browsers send recordings there
    SECURE_CSP["connect-src"].append("/".join(VOICE_BUCKET_ENDPOINT.split("/")[:3]))
VOICE_UPLOAD_LIMIT_BYTES = 500_000_000
VOICE_UPLOADS_PER_ORGANIZATION = 200
VOICE_UPLOADS_PER_ORGANIZATION_BYTES = 5_000_000_000
VOICE_UPLOAD_LIFETIME_S = 86_400
VOICE_UPLOAD_URL_LIFETIME_S = 6 * 3_600
VOICE_UPLOAD_STALL_S = 30
VOICE_UPLOAD_MINIMUM_BYTES_PER_S = 10_000
VOICE_DISK_RESERVE_BYTES = 2**30

# Meetings that are transcribed in the background.
VOICE_OPEN_JOBS_PER_ORGANIZATION = 20
VOICE_JOBS_PER_ORGANIZATION_AT_ONCE = 2
VOICE_JOBS_AT_ONCE = 8
VOICE_JOB_LIFETIME_DAYS = 30
VOICE_JOB_STALL_LIMIT_S = 900

# Voice sessions (voice.realtime).
REALTIME_FRAME_LIMIT_BYTES = 4 * 2**20
REALTIME_SESSION_LIMIT_S = 3_600
REALTIME_IDLE_TIMEOUT_S = 300
REALTIME_PING_EVERY_S = 20
REALTIME_OPEN_TIMEOUT_S = 10
REALTIME_HOLD_S = 30
REALTIME_CLOSE_TIMEOUT_S = 3
REALTIME_GOODBYE_S = 1
REALTIME_TICKET_LIFETIME_S = 600
REALTIME_REPLAY_ITEMS = 200
REALTIME_REPLAY_AUDIO_BYTES = 2**20

# Limits towards providers.
CONNECT_TIMEOUT_S = 5
TRIES_PER_OFFER = 2
ATTEMPTS_MOST = 4
FALLBACKS_MOST = 8
RETRY_AFTER_MOST_S = 10
RETRY_PAUSE_S = 0.25
TOTAL_TIMEOUT_S = 590
FIRST_CONTENT_TIMEOUT_S = 60
FIRST_CONTENT_FALLBACK_S = 12
FRAME_GAP_TIMEOUT_S = 20
USAGE_WAIT_S = 3
REASONING_TIMEOUT_S = 300
ANSWER_BASE_S = 15
UNKNOWN_TOKENS_PER_S = 20
PREFILL_TOKENS_PER_S = 2_000
UPSTREAM_LINE_LIMIT_BYTES = 8 * 2**20
UPSTREAM_HEADER_LIMIT_BYTES = 32 * 2**10
UPSTREAM_BODY_LIMIT_BYTES = 32 * 2**20
UPSTREAM_DRAIN_LIMIT_BYTES = 256 * 2**20
JOIN_LIMIT_BYTES = 256 * 2**10
BREAKER_FAILURES = 5
BREAKER_PROBE_EVERY_S = 5

# Money.
FEE_BASIS_POINTS = 2_500
ATTEMPT_LOSS_MOST_NANO = 50_000_000
LOSS_BUDGET_NANO_PER_HOUR = 1_000_000_000
START_OUTPUT_TOKENS = 256
STREAM_HOLD_OUTPUT_TOKENS = 4_096
HOLD_LIFETIME_S = TOTAL_TIMEOUT_S + 70
SETTLEMENT_WAIT_S = 5
CLASSIFIED_SHARE = 0.1
HEARTBEAT_EVERY_S = 3
PROCESS_GONE_AFTER_S = 15
REAP_EVERY_S = 10
ROLL_UP_EVERY_S = 10
USAGE_RECHECK_DAYS = 14

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "komilion.common.logging.JsonFormatter"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "json"},
        "alarms": {"class": "komilion.common.logging.AlarmCounter", "level": "WARNING"},
    },
    "loggers": {"stripe": {"level": "WARNING"}},  # else each request and answer is a line
    "root": {"handlers": ["stderr", "alarms"], "level": LOG_LEVEL},
}
