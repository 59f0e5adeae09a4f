"""Tokens as their issuers publish them: one maker per format, from a seeded source of chance.

Prefix, alphabet and length follow the issuers' documentation and the public detection rules for it. Where a format
has no mark of its own (a bare 40-character key), it is here with the variable or header it is documented under.
"""

import base64
import json
import string
from collections.abc import Callable
from random import Random

LOWER = string.ascii_lowercase
UPPER = string.ascii_uppercase
DIGITS = string.digits
WORD = string.ascii_letters + DIGITS
URL = WORD + "_-"
HEX = "0123456789abcdef"
BASE64 = WORD + "+/"
BECH32 = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"

Maker = Callable[[Random], str]


def some(chance: Random, alphabet: str, count: int) -> str:
    """Return ``count`` characters; the first is no sign, so that a token has a token's beginning."""
    first = chance.choice([char for char in alphabet if char.isalnum()])
    return first + "".join(chance.choices(alphabet, k=count - 1))


def prefixed(prefix: str, alphabet: str, count: int) -> Maker:
    """Return a maker of tokens that are a prefix and so many characters."""
    return lambda chance: prefix + some(chance, alphabet, count)


def _jwt(chance: Random) -> str:
    def part(value: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return ".".join(
        (
            part({"alg": chance.choice(["HS256", "RS256", "ES256"]), "typ": "JWT"}),
            part({"sub": some(chance, WORD, 12), "iat": chance.randrange(10**9, 2 * 10**9)}),
            some(chance, URL, 43),
        )
    )


def _pem(kind: str) -> Maker:
    def make(chance: Random) -> str:
        lines = [some(chance, BASE64, 64) for _ in range(chance.randrange(2, 26))]
        return "\n".join((f"-----BEGIN {kind}PRIVATE KEY-----", *lines, f"-----END {kind}PRIVATE KEY-----"))

    return make


def _pem_in_json(chance: Random) -> str:
    return json.dumps(_pem("")(chance))[1:-1]


def _card(chance: Random) -> str:
    prefix, length = chance.choice(
        [("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15), ("6011", 16)]
    )
    digits = [int(char) for char in prefix + "".join(chance.choices(DIGITS, k=length - len(prefix) - 1))]
    doubled = sum(sum(divmod(digit * 2, 10)) for digit in digits[::-2])
    digits.append(-(doubled + sum(digits[-2::-2])) % 10)
    text = "".join(map(str, digits))
    if length == 15:
        return chance.choice([text, f"{text[:4]} {text[4:10]} {text[10:]}", f"{text[:4]}-{text[4:10]}-{text[10:]}"])
    between = chance.choice(["", " ", "-"])
    return between.join(text[at : at + 4] for at in range(0, 16, 4))


def _mail(chance: Random) -> str:
    name = some(chance, LOWER + DIGITS + "._+", 9).strip("._+")
    return f"{name}@{some(chance, LOWER, 8)}.{chance.choice(['com', 'org', 'co.uk', 'example', 'de'])}"


FORMATS: dict[str, Maker] = {
    "AWS access key id": lambda c: c.choice(["AKIA", "ASIA"]) + some(c, UPPER + "234567", 16),
    "AWS secret access key, by its variable": lambda c: "AWS_SECRET_ACCESS_KEY=" + some(c, BASE64, 40),
    "AWS session token, by its variable": lambda c: "aws_session_token = " + some(c, BASE64, 228) + "==",
    "AWS signature in a URL": lambda c: "https://b.s3.amazonaws.com/k?X-Amz-Signature=" + some(c, HEX, 64),
    "Google API key": prefixed("AIza", URL, 35),
    "Google OAuth access token": prefixed("ya29.", URL, 120),
    "Google OAuth client secret": prefixed("GOCSPX-", URL, 28),
    "Google OAuth refresh token": prefixed("1//0", URL, 60),
    "Google service account key": lambda c: '{"private_key": "' + _pem_in_json(c) + '"}',
    "Azure storage key": lambda c: "AccountName=a;AccountKey=" + some(c, BASE64, 86) + "==;EndpointSuffix=x",
    "Azure SAS": lambda c: "https://a.blob.core.windows.net/c?sv=2022-11-02&sig=" + some(c, WORD, 43) + "%3D&se=2",
    "Azure shared access key": lambda c: "SharedAccessKeyName=R;SharedAccessKey=" + some(c, BASE64, 43) + "=",
    "Azure AD client secret": lambda c: some(c, WORD, 3) + c.choice(DIGITS) + "Q~" + some(c, URL, 34),
    "GitHub classic": lambda c: c.choice(["ghp_", "gho_", "ghu_", "ghs_", "ghr_"]) + some(c, WORD, 36),
    "GitHub fine-grained": lambda c: f"github_pat_{some(c, WORD, 22)}_{some(c, WORD, 59)}",
    "GitLab personal": prefixed("glpat-", URL, 20),
    "GitLab deploy and runner": lambda c: c.choice(["gldt-", "glrt-", "glptt-", "glft-", "glsoat-"]) + some(c, URL, 20),
    "Slack bot": lambda c: f"xoxb-{some(c, DIGITS, 12)}-{some(c, DIGITS, 13)}-{some(c, WORD, 24)}",
    "Slack user": lambda c: (
        f"xoxp-{some(c, DIGITS, 12)}-{some(c, DIGITS, 12)}-{some(c, DIGITS, 12)}-{some(c, HEX, 32)}"
    ),
    "Slack app": lambda c: f"xapp-1-{some(c, UPPER + DIGITS, 11)}-{some(c, DIGITS, 13)}-{some(c, HEX, 64)}",
    "Slack webhook": lambda c: (
        f"https://hooks.slack.com/services/T{some(c, UPPER, 8)}/B{some(c, UPPER, 10)}/{some(c, WORD, 24)}"
    ),
    "Stripe": lambda c: c.choice(["sk_live_", "sk_test_", "rk_live_", "rk_test_"]) + some(c, WORD, c.choice([24, 99])),
    "Stripe webhook": prefixed("whsec_", WORD, 32),
    "Twilio API key": prefixed("SK", HEX, 32),
    "Twilio auth token, by its variable": lambda c: "TWILIO_AUTH_TOKEN=" + some(c, HEX, 32),
    "SendGrid": lambda c: f"SG.{some(c, URL, 22)}.{some(c, URL, 43)}",
    "Mailgun": prefixed("key-", HEX, 32),
    "Mailchimp": lambda c: f"{some(c, HEX, 32)}-us{c.randrange(1, 22)}",
    "OpenAI": prefixed("sk-", WORD, 48),
    "OpenAI project": lambda c: (
        f"sk-{c.choice(['proj', 'svcacct', 'admin'])}-{some(c, URL, 74)}T3BlbkFJ{some(c, URL, 74)}"
    ),
    "Anthropic": lambda c: f"sk-ant-{c.choice(['api03', 'admin01'])}-{some(c, URL, 93)}AA",
    "Hugging Face": prefixed("hf_", string.ascii_letters, 34),
    "Groq": prefixed("gsk_", WORD, 52),
    "Replicate": prefixed("r8_", WORD, 37),
    "xAI": prefixed("xai-", WORD, 80),
    "Perplexity": prefixed("pplx-", WORD, 48),
    "npm": prefixed("npm_", WORD, 36),
    "PyPI": prefixed("pypi-AgEIcHlwaS5vcmc", URL, 150),
    "RubyGems": prefixed("rubygems_", HEX, 48),
    "Docker Hub": prefixed("dckr_pat_", URL, 27),
    "DigitalOcean": lambda c: c.choice(["dop_v1_", "doo_v1_", "dor_v1_"]) + some(c, HEX, 64),
    "Heroku": prefixed("HRKU-", URL, 60),
    "Heroku, by its variable": lambda c: "HEROKU_API_KEY=" + "-".join(some(c, HEX, n) for n in (8, 4, 4, 4, 12)),
    "Shopify": lambda c: c.choice(["shpat_", "shpca_", "shppa_", "shpss_"]) + some(c, HEX, 32),
    "Square": lambda c: "sq0atp-" + some(c, URL, 22),
    "Square OAuth": lambda c: "sq0csp-" + some(c, URL, 43),
    "Square, production": prefixed("EAAA", URL, 60),
    "Telegram bot": lambda c: f"{some(c, '123456789', 9)}:AA{some(c, URL, 33)}",
    "Discord bot": lambda c: f"{c.choice('MNO')}{some(c, WORD, 25)}.{some(c, URL, 6)}.{some(c, URL, 38)}",
    "Discord webhook": lambda c: f"https://discord.com/api/webhooks/{some(c, '123456789', 18)}/{some(c, URL, 68)}",
    "JWT": _jwt,
    "PEM": lambda c: _pem(c.choice(["", "RSA ", "EC ", "DSA ", "ENCRYPTED "]))(c),
    "OpenSSH": _pem("OPENSSH "),
    "PEM in JSON": _pem_in_json,
    "age": prefixed("AGE-SECRET-KEY-1", BECH32, 58),
    "Vault service": prefixed("hvs.", URL, 95),
    "Vault batch": prefixed("hvb.", URL, 140),
    "Databricks": prefixed("dapi", HEX, 32),
    "Linear": prefixed("lin_api_", WORD, 40),
    "Notion": lambda c: c.choice([f"secret_{some(c, WORD, 43)}", f"ntn_{some(c, WORD, 46)}"]),
    "Figma": prefixed("figd_", URL, 40),
    "Postman": lambda c: f"PMAK-{some(c, HEX, 24)}-{some(c, HEX, 34)}",
    "Atlassian": lambda c: "ATATT3xFfGF0" + some(c, URL, 180) + "=" + some(c, HEX.upper(), 8),
    "New Relic": lambda c: "NRAK-" + some(c, UPPER + DIGITS, 27),
    "Datadog, by its variable": lambda c: "DD_API_KEY=" + some(c, HEX, 32),
    "ElevenLabs, by its header": lambda c: "xi-api-key: " + some(c, HEX, 32),
    "Grafana": lambda c: f"glsa_{some(c, WORD, 32)}_{some(c, HEX, 8)}",
    "Doppler": prefixed("dp.pt.", WORD, 43),
    "Terraform": lambda c: f"{some(c, WORD, 14)}.atlasv1.{some(c, URL, 67)}",
    "Airtable": lambda c: f"pat{some(c, WORD, 14)}.{some(c, HEX, 64)}",
    "Pulumi": prefixed("pul-", HEX, 40),
    "PlanetScale": prefixed("pscale_tkn_", URL, 43),
    "Supabase": prefixed("sbp_", HEX, 40),
    "Sentry": prefixed("sntrys_eyJ", BASE64, 120),
    "Tailscale": lambda c: f"tskey-auth-{some(c, WORD, 17)}-{some(c, WORD, 32)}",
    "Basic": lambda c: "Basic " + base64.b64encode(f"bob:{some(c, WORD, 9)}".encode()).decode(),
    "Bearer": lambda c: "Bearer " + some(c, URL, 40),
    "cookie": lambda c: f"Set-Cookie: sid={some(c, URL, 32)}",
    "address": lambda c: f"postgresql://bob:{some(c, WORD, 12)}@db.internal:5432/app",
    "address without a user": lambda c: f"redis://:{some(c, WORD, 12)}@cache:6379/0",
    "token as the user of an address": lambda c: f"https://{some(c, WORD, 39)}7@git.internal/a/b.git",
    "card": _card,
    "e-mail address": _mail,
}

_FRAME = (
    ("AWS_SECRET_ACCESS_KEY=", ""), ("aws_session_token = ", ""), ("https://b.s3.amazonaws.com/k?X-Amz-Signature=", ""),
    ("AccountName=a;AccountKey=", ";EndpointSuffix=x"), ("SharedAccessKeyName=R;SharedAccessKey=", ""),
    ("https://a.blob.core.windows.net/c?sv=2022-11-02&sig=", "&se=2"), ("TWILIO_AUTH_TOKEN=", ""),
    ("HEROKU_API_KEY=", ""), ("DD_API_KEY=", ""), ("xi-api-key: ", ""), ("Basic ", ""), ("Bearer ", ""),
    ("Set-Cookie: sid=", ""), ("postgresql://bob:", "@db.internal:5432/app"), ("redis://:", "@cache:6379/0"),
    ("https://hooks.slack.com/services/", ""), ("https://discord.com/api/webhooks/", ""),
    ("https://", "@git.internal/a/b.git"),
    ('{"private_key": "-----BEGIN PRIVATE KEY-----\\n', '\\n-----END PRIVATE KEY-----\\n"}'),
)  # fmt: skip


def core(text: str) -> str:
    """Return what of a made text is the secret itself; of a private key a line from its middle."""
    for before, after in _FRAME:
        if text.startswith(before) and text.endswith(after):
            text = text[len(before) : len(text) - len(after)]
            break
    if "PRIVATE KEY" in text or "\\n" in text:
        text = text.replace("\\n", "\n").split("\n")[1]
    return text


def tokens(name: str, count: int) -> list[str]:
    """Return ``count`` texts of a format, always the same ones."""
    chance = Random(name)  # noqa: S311 - the same in each run is what is wanted
    return [FORMATS[name](chance) for _ in range(count)]
