"""What personal data and secrets look like in a prompt, for `advisor.redact`; each pattern says what it takes.

Words of a pattern begin where no letter stands before them: `db_password` has the word, `compass` has not.
"""

import re

NO_LETTER = r"(?<![^\W\d_])"
BLANKS = r"[ \t]{1,3}"

URL = re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://)([^\s/?#@\[\]]{1,300}@)?([^\s?#]{0,2000})([?#]\S{0,5000})?", re.I)
EMAIL = re.compile(r"[^\s@<>()\[\],;:\"']{1,64}@[^\s@<>()\[\],;:\"']{1,190}")
KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:sk|pk|rk|gh[opsu]|github_pat|glpat|xox[abprs]|hf|AKIA|ASIA|AIza|ya29|eyJ)[-_.A-Za-z0-9]{10,5000}"
)
TOKEN = re.compile(r"[A-Za-z0-9+/_=-]{20,5000}")
IBAN = re.compile(r"(?<![^\W_])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}(?![^\W_])", re.I)
IP = re.compile(r"(?<![\w.:])[0-9A-Fa-f]{0,4}(?:[.:][0-9A-Fa-f]{0,4}){2,8}(?![\w:])")

# Numbers. Commas part the groups of a card alone: elsewhere they part the numbers of a list.
GAP = r"[ \t().\/_-]{0,3}"
DIGITS = re.compile(rf"\+?[(]?\d(?:{GAP}\d){{5,40}}")
GROUPS = r"[ \t.,\/_-]{1,3}"
CARD = re.compile(rf"(?<!\d)\d{{4}}{GROUPS}(?:\d{{4}}{GROUPS}\d{{4}}{GROUPS}\d{{4}}|\d{{6}}{GROUPS}\d{{4,5}})(?!\d)")

# Secrets. Behind `=` without a blank a secret is one word; behind `: ` or "is" it may have several, up to the end of
# that part of the sentence; in quotes it goes up to the closing one.
SECRET_WORD = (
    r"(?:(?:password|passwd|passphrase|passcode|passwort|kennwort|wachtwoord|contraseña|senha|mot[ _]de[ _]passe|пароль"
    r"|secret|credential|authorization|(?:api|access|private|secret|auth|encryption|signing)[ _-]?key"
    rf"|{NO_LETTER}(?:pass|pwd))s?|token|密码|パスワード)(?:[_-]\w{{1,30}})?"
)
QUOTED = (
    r"""\[secret\]|"(?:\\.|[^"\\\n]){0,2000}"?|'(?:\\.|[^'\\\n]){0,2000}'?|`[^`\n]{0,2000}`?"""
    r"|[“„«\u2018][^”“»\u2019\n]{0,2000}[”“»\u2019]?"
)
WORDS = r"(?:(?![,;.!?](?:\s|\Z))[^\n]){1,2000}"
FOR = r"(?:\s(?:for|of|on|to|für)\s[^\n.,;:=]{1,40}?)?"
IS = r"(?:\s{0,3}(?::=|=>|==|[:=])|\s{1,3}(?:is|are|was|ist|est|es|è)\b:?|\s{0,3}是)\s{0,3}"
ASSIGNED_SECRET = re.compile(rf"({SECRET_WORD}[\"'`\])]{{0,2}}=)(?:{QUOTED}|[^\s=]\S{{0,5000}})", re.I)
SAID_SECRET = re.compile(rf"({SECRET_WORD}[\"'`\])]{{0,2}}{FOR}{IS})(?:{QUOTED}|{WORDS})", re.I)
GIVEN_SECRET = re.compile(rf"({SECRET_WORD}\s{{1,3}})(?=\S{{0,60}}\d)\S{{5,5000}}", re.I)
BEARER = re.compile(rf"({NO_LETTER}(?:bearer|basic)\s{{1,3}})[\w.~+/=-]{{16,5000}}", re.I)

# Names.
WHOLE_NAME = r"[^\W\d_][\w'\u2019.-]{0,60}(?:[ \t]{1,5}[^\W\d_][\w'\u2019.-]{0,60}){0,3}"
NAME = f"({WHOLE_NAME})"
SAID_NAME = re.compile(
    rf"({NO_LETTER}(?:my name(?: is|['\u2019]s)|call me|i am called|ich heiße|je m['\u2019]appelle|me llamo|mi chiamo)"
    rf"[ \t]{{1,5}}){NAME}",
    re.I,
)
CLOSING = (
    r"(?:(?:kind |warm |best )?regards|(?:yours )?sincerely|yours(?: truly| faithfully)?|best(?: wishes)?|cheers"
    r"|greetings|(?:many )?thanks|thank you|grüße?n?|cordialement|saludos|atentamente|(?:cordiali )?saluti)"
)
SIGNED_NAME = re.compile(
    rf"({NO_LETTER}{CLOSING}[,.!]?[ \t]{{0,3}}\n\s{{0,3}}){WHOLE_NAME}[ \t,.]{{0,3}}(?=\n|\Z)", re.I
)
MAYBE_NAME = re.compile(
    rf"({NO_LETTER}(?:i am|i['\u2019]m|this is|ich bin|je suis|soy|sono|{CLOSING},|(?:dear|hi|hello|hey)"
    rf"|liebe[rs]?|(?:mrs?|ms|dr|prof|herrn?|frau|señora?)\.?)\s{{1,5}})(?!i\b){NAME}",
    re.I,
)
LABELLED_NAME = re.compile(
    rf"({NO_LETTER}(?:(?:full|first|last|family|given|maiden|patient|client|customer|user)?[ _-]?names?|surname|patient"
    r"|client|customer|employee|applicant|candidate|student|tenant|resident|contact|recipient|sender|author|attn|signed"
    r"|kund(?:e|in)|patientin|vorname|nachname|nom|prénom|nombre|apellidos?|cliente|paciente|nome|cognome)"
    rf"[\"']?\s{{0,3}}[:=]\s{{0,3}}[\"']?){NAME}",
    re.I,
)

# Where somebody lives: 12 Baker Street; Hauptstraße 5; 8 rue de Rivoli; Calle Mayor 3. Names of streets have capitals.
HOUSE = r"\d{1,5}[A-Za-z]?"
PROPER = r"[^\W\d_a-zß-öø-ÿ][\w'\u2019.-]{0,40}"
ADDRESSES = (
    re.compile(
        rf"(?<!\w){HOUSE},?{BLANKS}(?:{PROPER}{BLANKS}){{1,4}}"
        r"(?i:street|str?|road|rd|avenue|ave|lane|ln|drive|dr|boulevard|blvd|court|ct|place|pl|square|sq|terrace|way"
        r"|close|crescent|highway|hwy|row|gardens|park)(?!\w)\.?"
    ),
    re.compile(
        rf"(?<!\w)(?:{PROPER}(?i:straße|strasse|str\.|gasse|weg|allee|platz|ring|damm|ufer)"
        rf"|(?:{PROPER}{BLANKS}){{1,3}}(?:Straße|Strasse|Str\.|Gasse|Weg|Allee|Platz|Ring|Damm|Ufer))"
        rf"{BLANKS}{HOUSE}(?!\w)"
    ),
    re.compile(
        rf"(?<!\w){HOUSE},?{BLANKS}(?i:bis{BLANKS})?(?i:rue|avenue|boulevard|place|chemin|allée|quai|impasse){BLANKS}"
        rf"(?:(?:de|du|des|la|le|les){BLANKS}){{0,2}}(?:[dl]['\u2019])?{PROPER}(?:[ \t-]{PROPER}){{0,2}}"
    ),
    re.compile(
        rf"(?<!\w)(?i:calle|avenida|plaza|paseo|via|viale|piazza|corso){BLANKS}"
        rf"(?:(?:de|del|della|la|los|las|di){BLANKS}){{0,2}}{PROPER}(?:{BLANKS}{PROPER}){{0,2}},?{BLANKS}{HOUSE}(?!\w)"
    ),
)
