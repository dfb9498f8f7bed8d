"""Which of our mails stands for which of allauth's."""

# What the page after sign-up speaks of. It says the same where the address has an account, or it would tell so.
CONFIRMATIONS = frozenset(
    {
        "account/email/email_confirmation_signup",
        "account/email/email_confirmation",
        "account/email/account_already_exists",
    }
)

# Names of our own, beside allauth's: an account changes to an address, which is free or has an account already.
EMAIL_CHANGE = "account/email/email_change"
EMAIL_CHANGE_TAKEN = "account/email/email_change_taken"
CHANGES = frozenset({EMAIL_CHANGE, EMAIL_CHANGE_TAKEN})

# allauth's name -> template in templates/mail/, subject
MAILS = {
    "account/email/email_confirmation_signup": ("confirm_email", "Confirm your e-mail address"),
    "account/email/email_confirmation": ("confirm_email", "Confirm your e-mail address"),
    EMAIL_CHANGE: ("change_email", "Confirm your new e-mail address"),
    EMAIL_CHANGE_TAKEN: ("email_taken", "Your address has an account already"),
    "account/email/account_already_exists": ("account_exists", "You have an account already"),
    "account/email/unknown_account": ("no_account", "There is no account with this address"),
    "account/email/password_reset_key": ("password_reset", "Set a new password"),
}

EMAIL_CHANGED = "account/email/email_changed"

# allauth's name -> what happened; said in one template
SECURITY_NOTICES = {
    "account/email/password_changed": "Your password was changed.",
    "account/email/password_reset": "Your password was set anew by a link that was mailed to you.",
    "account/email/password_set": "A password was set for your account.",
    EMAIL_CHANGED: "The e-mail address of your account was changed from {from_email} to {to_email}.",
    "account/email/email_deleted": "The e-mail address {deleted_email} was removed from your account.",
    "mfa/email/totp_activated": "An authenticator app was added to your account.",
    "mfa/email/totp_deactivated": "The authenticator app was removed from your account.",
    "mfa/email/recovery_codes_generated": "New recovery codes were made for your account; the old ones are void.",
    "socialaccount/email/account_connected": "An account elsewhere was connected to yours, to log in with.",
    "socialaccount/email/account_disconnected": "An account elsewhere was disconnected from yours.",
}
