"""Languages by their ISO 639 codes and by the English names that Whisper's family of models gives them.

Providers write `en`, `en-US` or `english`; a transcript has the code, and each shape of answer writes what its clients
expect. What is in no table stays as it came.
"""

TABLE = """
af:afrikaans am:amharic ar:arabic as:assamese az:azerbaijani ba:bashkir be:belarusian bg:bulgarian bn:bengali
bo:tibetan br:breton bs:bosnian ca:catalan cs:czech cy:welsh da:danish de:german el:greek en:english es:spanish
et:estonian eu:basque fa:persian fi:finnish fo:faroese fr:french gl:galician gu:gujarati ha:hausa haw:hawaiian
he:hebrew hi:hindi hr:croatian ht:haitian hu:hungarian hy:armenian id:indonesian is:icelandic it:italian ja:japanese
jw:javanese ka:georgian kk:kazakh km:khmer kn:kannada ko:korean la:latin lb:luxembourgish ln:lingala lo:lao
lt:lithuanian lv:latvian mg:malagasy mi:maori mk:macedonian ml:malayalam mn:mongolian mr:marathi ms:malay mt:maltese
my:myanmar ne:nepali nl:dutch nn:nynorsk no:norwegian oc:occitan pa:punjabi pl:polish ps:pashto pt:portuguese
ro:romanian ru:russian sa:sanskrit sd:sindhi si:sinhala sk:slovak sl:slovenian sn:shona so:somali sq:albanian
sr:serbian su:sundanese sv:swedish sw:swahili ta:tamil te:telugu tg:tajik th:thai tk:turkmen tl:tagalog tr:turkish
tt:tatar uk:ukrainian ur:urdu uz:uzbek vi:vietnamese yi:yiddish yo:yoruba yue:cantonese zh:chinese
"""
NAMES = dict(pair.split(":") for pair in TABLE.split())
CODES = {name: code for code, name in NAMES.items()}


def code_of(language: str) -> str:
    """`English` -> `en`; a code, with or without a region, stays as it is."""
    return CODES.get(language.lower(), language)


def name_of(language: str) -> str:
    """`en` and `en-US` -> `english`."""
    return NAMES.get(language.partition("-")[0].lower(), language)
