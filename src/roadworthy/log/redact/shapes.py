"""Shapes: what is a secret wherever it stands, because its issuer has published what it looks like.

Tokens with a prefix, private keys, ``Bearer`` and ``Basic`` values, credentials in addresses, and of personal data
e-mail addresses and card numbers (with a right check digit). A few formats have no prefix but a form of their own:
bot tokens, keys with a data centre behind them.
"""

from __future__ import annotations

from roadworthy.log.redact.pattern import Pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

REDACTED = "[redacted]"
EMAIL = "[email]"
CARD = "[card]"

RUN = "a" * 16
"""What a token has at least, in :data:`CLASSES`: sixteen letters, digits, ``_`` and ``-`` in a row."""

DOTTED = ".aaaaaa."
"""What a bot token of the Discord kind has between its long parts, in :data:`CLASSES`."""

MARK = ":"
"""What stands in :data:`CLASSES` for each character of which a secret under a key, or in an address, needs one."""

ODD = "!"
"""What stands in :data:`CLASSES` for control characters, and where a character may begin that hides a key."""

_LEADS = frozenset(b"\xc2\xcc\xcd\xd0\xd1\xd4\xd8\xe1\xe2\xe3\xea\xef")
"""First bytes, in UTF-8, of what ``tricks`` looks for; the letters of most languages have others."""


def _class_of(code: int) -> str:
    char = chr(code)
    if code in _LEADS or char == "\x7f" or (char < " " and char not in "\t\n\r"):
        return "!"
    if char in ":='\"<>%@":
        return ":"
    if char in "_-" or (char.isascii() and char.isalnum()):
        return "a"
    return "." if char == "." else " "


CLASSES = "".join([_class_of(code) for code in range(256)]).encode()
"""Maps the bytes of a text to what matters of them; one pass over a line tells whether a token can be in it at all."""

KEY_BEGINS = r"-----BEGIN[ ][A-Z0-9 ]{0,40}PRIVATE[ ]KEY(?:[ ]BLOCK)?-----"
KEY_ENDS = r"-----END[ ][A-Z0-9 ]{0,40}PRIVATE[ ]KEY(?:[ ]BLOCK)?-----"

DIGITS = "".join(
    ["0" if char in "0123456789" else " " if char in " -" else "x" for char in map(chr, range(256))]
).encode()
"""Maps the bytes of a text to digits, what may stand between those of a card, and all else."""

CARD_RUN, CARD_GROUPS = "0" * 13, "0000 0000"
"""What a card number has in :data:`DIGITS`: that many digits in a row, or in groups."""

_TOKENS = Pattern(
    rf"""
    {KEY_BEGINS} .*? (?:{KEY_ENDS}|\Z)
  | (?<![A-Za-z0-9])(?:
        sk-[A-Za-z0-9_\-]{{16,}}
      | (?:sk|pk|rk|whsec|gsk)_(?:live_|test_)?[A-Za-z0-9+/]{{12,}}=*
      | gh[pousr]_[A-Za-z0-9_]{{20,}}
      | github_pat_[A-Za-z0-9_]{{20,}}
      | gl(?:pat|ptt|dt|rt|rtr|ft|imt|cbt|agent|soat|oas|ffct)-[A-Za-z0-9_.\-]{{16,}}
      | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{{12,}}
      | xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9\-]{{10,}}
      | xapp-[A-Za-z0-9\-]{{10,}}
      | AIza[A-Za-z0-9_\-]{{30,}}
      | ya29\.[A-Za-z0-9_.\-]{{10,}}
      | GOCSPX-[A-Za-z0-9_\-]{{20,}}
      | 1//0[A-Za-z0-9_\-]{{30,}}
      | eyJ[A-Za-z0-9_\-]{{5,}}\.[A-Za-z0-9_\-]{{4,}}(?:\.[A-Za-z0-9_\-]*){{0,3}}
      | npm_[A-Za-z0-9]{{30,}}
      | pypi-[A-Za-z0-9_\-]{{20,}}
      | (?:hf|api_org)_[A-Za-z0-9]{{20,}}
      | SG\.[A-Za-z0-9_\-]{{16,}}\.[A-Za-z0-9_\-]{{16,}}
      | do[opr]_v1_[a-f0-9]{{32,}}
      | SK[0-9a-f]{{32}}(?![0-9A-Za-z])
      | key-[0-9a-f]{{32}}(?![0-9A-Za-z])
      | [0-9a-f]{{32}}-us[0-9]{{1,2}}(?![0-9A-Za-z\-])
      | HRKU-[A-Za-z0-9_\-]{{30,}}
      | shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{{32,}}
      | sq0[a-z]{{3}}-[A-Za-z0-9_\-]{{22,}}
      | EAA[A-Za-z0-9_\-]{{56,}}
      | [0-9]{{8,10}}:A[A-Za-z0-9_\-]{{34}}(?![A-Za-z0-9_\-])
      | [MNO][A-Za-z0-9_\-]{{22,27}}\.[A-Za-z0-9_\-]{{6}}\.[A-Za-z0-9_\-]{{27,}}
      | hv[sbr]\.[A-Za-z0-9_\-]{{24,}}
      | dapi[0-9a-f]{{32}}(?:-[0-9])?(?![0-9A-Za-z])
      | lin_(?:api|oauth)_[A-Za-z0-9]{{32,}}
      | secret_[A-Za-z0-9]{{43}}(?![0-9A-Za-z])
      | ntn_[A-Za-z0-9]{{40,}}
      | fig(?:d|dh|o|oh|or)_[A-Za-z0-9_\-]{{30,}}
      | PMAK-[A-Fa-f0-9]{{24}}-[A-Fa-f0-9]{{34}}
      | AT(?:ATT|CTT|BB)[A-Za-z0-9_\-=]{{24,}}
      | NR(?:AK|JS|II|AA|RA)-[A-Za-z0-9_\-]{{19,}}
      | AGE-SECRET-KEY-1[A-Z0-9]{{50,}}
      | (?:glsa|glc)_[A-Za-z0-9_=+/]{{32,}}
      | (?:r8|sbp|sntry[su]|dckr_[po]at|rubygems|ops|pscale_(?:tkn|oauth|pw))_[A-Za-z0-9_=+/.\-]{{24,}}
      | (?:xai|pplx|pul|tskey-[a-z]{{2,8}})-[A-Za-z0-9\-]{{24,}}
      | dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_\-]+\.)?[A-Za-z0-9]{{40,}}
      | [A-Za-z0-9]{{14}}\.atlasv1\.[A-Za-z0-9_=\-]{{60,}}
      | pat[A-Za-z0-9]{{14}}\.[a-f0-9]{{64}}
      | hooks\.slack\.com/[a-z]{{6,12}}/[A-Za-z0-9+/]{{20,}}
      | discord(?:app)?\.com/api/(?:v[0-9]+/)?webhooks/[0-9]+/[A-Za-z0-9_\-]{{40,}}
      | PMAT-[A-Z0-9]{{26}}
    )
  | [A-Za-z0-9_~.]{{3}}[0-9]Q~[A-Za-z0-9_~.\-]{{31,34}}(?![A-Za-z0-9_~\-])
    """,
    verbose=True,
    dotall=True,
)
_KEY_TAIL = Pattern(
    rf"(?<![A-Za-z0-9+/=])(?:[A-Za-z0-9+/=]{{16,100}}(?:\s|\\[rn]){{1,4}}){{1,80}}{KEY_ENDS}".replace("[ ]", " ")
)
_SCHEME = Pattern(
    r"(?<![A-Za-z0-9])(Bearer|Basic)([ ]+)(?!\[)"
    r"((?=[^\s,;\"']*[0-9=]|[^\s,;\"']{20})[A-Za-z0-9._~+/=\-]{6,}|[A-Za-z0-9+/]{8,})",
    ignorecase=True,
)
_URL = Pattern(r"(://)([^\s/?\#:@\"'<>]*):(?![0-9]{0,5}(?:[/?\#\s]|$))([^\s\"'<>]*)@")
_TOKEN_URL = Pattern(r"(://)(?=[^\s/?\#:@\"'<>]*[0-9])[^\s/?\#:@\"'<>]{16,}@")
_ORACLE = Pattern(r"(:thin:[^\s/@\"']+/)[^\s@\"']+@", ignorecase=True)
_SIGNED = Pattern(
    r"([?&;](?:amp;)?(?:sig|signature|x-(?:amz|goog|oss)-signature|code_verifier|client_assertion)=)[^\s&\"'<>]+",
    ignorecase=True,
)
_MAIL = Pattern(
    r"(?<![A-Za-z0-9._%+\-])(?!git@)[A-Za-z0-9._%+\-]{1,64}"
    r"@(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9@])"
)
_CARDS = Pattern(r"(?<![0-9A-Za-z.\-])[2-6](?:[ \-]?[0-9]){12,18}(?![0-9A-Za-z])(?!\.[0-9])")


def may_hold_token(text: str, low: str) -> bool:
    """Return False when ``text``, which has a long run, has none of the prefixes; ``low`` is it in lower case."""
    if "_" in low and (
        "k_" in low
        or ("gh" in low and ("ghp_" in low or "gho_" in low or "ghu_" in low or "ghs_" in low or "ghr_" in low))
        or "hub_" in low
        or "npm_" in low
        or "hf_" in low
        or "i_org_" in low
        or "_v1_" in low
        or "shp" in low
        or "secret_" in low
        or "ntn_" in low
        or "figd_" in low
        or "figo" in low
        or "lin_" in low
        or "glsa_" in low
        or "glc_" in low
        or "hsec_" in low
        or "r8_" in low
        or "sbp_" in low
        or "sntry" in low
        or "dckr_" in low
        or "gems_" in low
        or "ops_ey" in low
        or "pscale_" in low
    ):
        return True
    if "-" in low and (
        "sk-" in low
        or "gl" in low
        or "xox" in low
        or "xapp-" in low
        or "pypi-" in low
        or "key-" in low
        or "sq0" in low
        or "-us" in low
        or "xai-" in low
        or "pplx-" in low
        or "pul-" in low
        or "tskey-" in low
    ):
        return True
    if "." in low and (
        "eyj" in low
        or "ya29." in low
        or "sg." in low
        or "hvs." in low
        or "hvb." in low
        or "hvr." in low
        or "dp." in low
        or ".atlas" in low
        or "pat" in low
        or "hooks.s" in low
        or "webhooks/" in low
    ):
        return True
    if "dapi" in low or "1//0" in low:
        return True
    return low != text and (
        "AKIA" in text
        or "ASIA" in text
        or "ABIA" in text
        or "ACCA" in text
        or "AIza" in text
        or "EAA" in text
        or "SK" in text
        or "AT" in text
        or ":A" in text
        or "Q~" in text
        or "GOCSPX-" in text
        or "PMA" in text
        or "HRKU-" in text
        or "NR" in text
    )


def without_tokens(text: str) -> str:
    """Return ``text`` without tokens and private keys."""
    return _TOKENS.sub(REDACTED, text)


def without_private_keys(text: str) -> str:
    """Return ``text`` without private keys, also where only the end of one is left of it."""
    return _KEY_TAIL.sub(REDACTED, _TOKENS.sub(REDACTED, text))


def without_schemes(text: str) -> str:
    """Return ``text`` without what follows ``Bearer`` and ``Basic``, where it looks like credentials."""
    return _SCHEME.sub(_keep_scheme, text)


def without_addresses(text: str) -> str:
    """Return ``text`` without credentials in addresses and without e-mail addresses."""
    if "://" in text:
        text = _TOKEN_URL.sub(rf"\1{REDACTED}@", _URL.sub(_keep_user, text))
    if ":thin:" in text:
        text = _ORACLE.sub(rf"\1{REDACTED}@", text)
    return _MAIL.sub(EMAIL, text)


def without_signatures(text: str) -> str:
    """Return ``text`` without the values of a query that sign it: ``sig=``, ``X-Amz-Signature=``."""
    return _SIGNED.sub(rf"\1{REDACTED}", text)


def without_cards(text: str) -> str:
    """Return ``text`` without card numbers: 13 to 19 digits with a right check digit."""
    return _CARDS.sub(_card, text)


def _keep_scheme(found: re.Match[str]) -> str:
    scheme, space, value = found.groups()
    if any(char.isdigit() or char == "=" for char in value) or len(value) >= 20:  # noqa: PLR2004 - as in the pattern
        return f"{scheme}{space}{REDACTED}"
    return f"{scheme}{space}{REDACTED}" if scheme.lower() == "basic" and _is_pair(value) else found[0]


def _is_pair(value: str) -> bool:
    """Return whether ``value`` is base64 of ``user:password``; a word of prose is not."""
    import binascii

    try:
        return b":" in binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        return False


def _keep_user(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}:{REDACTED}@" if found[3] else found[0]


def _card(found: re.Match[str]) -> str:
    digits = [int(char) for char in found[0] if char.isdigit()]
    doubled = sum(sum(divmod(digit * 2, 10)) for digit in digits[-2::-2])
    return CARD if (sum(digits[-1::-2]) + doubled) % 10 == 0 else found[0]
