"""Secrets by the key they stand under, in text: ``password=…``, ``{'token': '…'}``, ``--api-key …``, ``<pin>…</pin>``.

What follows the key goes as far as a value can: to its closing quote, to the bracket that closes it, to the end of a
block of YAML. Where text leaves open how long it is, rather more is taken out than less; never the next key.
"""

from __future__ import annotations

from roadworthy.log.redact.keys import secret_key
from roadworthy.log.redact.pattern import Pattern
from roadworthy.log.redact.shapes import REDACTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

_NAME = r"""
    (?P<key>[A-Za-z_][A-Za-z0-9_.\-]{1,63}+|[A-Za-z]{2,20}+[ ][A-Za-z]{2,20}+)
    (?P<sep>(?:\\*["']|%22|&quot;|&\#34;)?\]?\s{0,9}(?:[:=]{1,3}>?|->|%3[AaDd])(?:%20|\+|\s{0,9}))
"""
_KEY = Pattern(r"(?<![A-Za-z0-9_])" + _NAME, verbose=True)
_KEY_ENCODED = Pattern(r"(?:(?<![A-Za-z0-9_])|(?<=%[0-9A-Fa-f][0-9A-Fa-f]))" + _NAME, verbose=True)
_VALUE = Pattern(
    r"""
        (?:"\"\"|''').*?(?:"\"\"|'''|\Z)
      | [bBuUrRfF]{0,2}(?P<quote>\\*["']|%22|&quot;|&\#34;)
            (?:(?!(?P=quote)(?:[\s,;:.)}\]>&|'"\\%<?!/]|\Z))(?:\\{3,}["']|\\.|.))*(?P=quote)?
      | \[redacted\](?:[^\s,;&"'<>(){}\[\]]*[A-Za-z0-9])? | \[email\] | \[card\]
      | [|>][+\-]?[0-9]?[ ]*\n(?:[ \t]+[^\n]*(?:\n|\Z))+
      | -[ ][^\n]+(?:\n[ \t]*-[ ][^\n]+)*
      | [\[({]
      | (?:[A-Za-z]{3,12}[ ](?=[^\s"',;]*[0-9=]|\[redacted\]))?[^\s,;&"'<>(){}]+
        (?:[,;&(<>]+(?![^\s]*[=:])(?!\[)[^\s,;&"'<>(){}\]]+)*
    """,
    verbose=True,
    dotall=True,
)
_SAYS_NOTHING = frozenset({"", "none", "null", "nil", "true", "false", "undefined", "unset", "empty", "...", "-", "*"})
_PLACEHOLDER = Pattern(r"%(?:\([a-z_]+\))?[srda](?:\\n)?\Z")
_LONG_KEY = 24
_OPENING = frozenset("\"'([{")
_PHRASES = ("passphrase", "phrase", "mnemonic")
_LINE = Pattern(r"[^\n,;\"'{}]*")

_WHOLE_LINE = Pattern(
    r"(?im)\b((?:set-)?cookie|(?:proxy-)?authori[sz]ation)(\s{0,3}[:=]\s{0,3})(?![\s\"'\[({])(?:=\\*\"[^\"\r\n]*\"|[^\r\n\"'])+"
)
_WHOLE_WORDS = ("cookie", "authori")

_QUOTED = r"""(?:'[^'\n]+'|"[^"\n]+")"""
_SAID = Pattern(
    rf"""
    (?P<before>
        (?:(?:password|passwd|passphrase|passcode)(?:[ ]for[ ]\S{{1,64}})?(?:[ ]is|[ ]was|[ ]=|[ ]:|:)?
           |identified[ ]by)[ \t]+ (?={_QUOTED})(?!["']\[redacted\])
      | (?:password|passwd|passphrase|passcode|secret|token|api[ _-]?key)
        (?:[ ](?:for|of)[ ]\S{{1,64}})?(?:[ ]is|[ ]was|[ ]=)?:?[ \t]+
        (?=\S*[0-9])(?=\S*[A-Za-z])(?![^\s"']*[=:(/\[<{{]) (?=\S{{6}})
      | (?-i:\bAUTH[ ](?:PLAIN[ ]|LOGIN[ ])?|\bPASS[ ]) (?=\S*[0-9])(?=\S{{6}})(?![^\s"']*[=:(/\[<{{])
    )
    (?:{_QUOTED}|[^\s"'<>(){{}},;]+)
    """,
    verbose=True,
    ignorecase=True,
)
_FLAG = Pattern(r"""(?<![\w-])(--?(?P<key>[A-Za-z][A-Za-z0-9_\-]{2,40})[ ]+)(?!-)('[^'\n]*'|"[^"\n]*"|[^\s'"]+)""")
_PAIR = Pattern(
    r"""
    (?P<before>
        (?:(?P<open>[(\[])\s*[bBuU]?|(?=["']--?[A-Za-z]))
        (?P<q>["'])-{0,2}(?P<key>[A-Za-z][A-Za-z0-9_.\-]{1,63})(?P=q)\s*,\s*[bBuU]?(?P<v>["'])
    )
    (?:\\.|(?!(?P=v)).)+ (?P<after>(?P=v)(?(open)\s*[)\]]))
    """,
    verbose=True,
    dotall=True,
)
_Q = r"""(?:\\*["']|&quot;|&\#34;|%22)"""
_NAMED = Pattern(
    rf"""
    (?P<before>\b(?:name|key){_Q}?\s*[:=]\s*{_Q}?(?P<key>[A-Za-z][A-Za-z0-9_.\-]{{1,63}}){_Q}?[\s,;]+
        (?:[A-Za-z\-]+={_Q}[^"'&]*{_Q}\s+)?{_Q}?value{_Q}?\s*[:=]\s*)
    (?P<quote>{_Q})?(?P<value>(?(quote)(?:(?!(?P=quote)).)+|[^\s,;"'<>{{}}]+))
    """,
    verbose=True,
    ignorecase=True,
)
_NAMED_LATER = Pattern(
    rf"""
    (?P<before>\bvalue{_Q}?\s*[:=]\s*)
    (?P<quote>{_Q})?(?P<value>(?(quote)(?:(?!(?P=quote)).)+|[^\s,;"'<>{{}}]+))
    (?P<after>{_Q}?[\s,;]+{_Q}?(?:name|key){_Q}?\s*[:=]\s*{_Q}?(?P<key>[A-Za-z][A-Za-z0-9_.\-]{{1,63}}))
    """,
    verbose=True,
    ignorecase=True,
)
_ELEMENT = Pattern(r"(?P<before><(?:[\w.\-]+:)?(?P<key>[A-Za-z][\w.\-]{1,63})(?:\s[^<>]*)?>)(?!\s*<)[^<]+(?=</)")
_PLIST = Pattern(r"(?P<before><key>(?P<key>[\w.\- ]{2,64})</key>\s*<(?:string|data|integer)>)[^<]+")
_INPUT = Pattern(
    r"(?m)(?:^|(?<=[\"' ]))(?P<before>(?P<key>[\w.\-]{2,64})\n[^\n]*?input_value=)"
    r"(?:\[redacted\]|'[^'\n]*'|\"[^\"\n]*\"|[^\s,\]]+)"
)
_TOOLS = Pattern(
    r"""
    (?P<before>
        \b(?:curl|wget|smbclient)\b [^\n|;]{0,400}? [ ](?:-u|-U|--user|--proxy-user)[ =]?["']?[^\s:%"']{1,64}[:%]
      | \bmysql(?:dump|admin|import)?\b [^\n|;]{0,400}? [ ]-p(?=[^\s])
      | \bsshpass[ ]+-p[ ]*["']?
      | \bredis-cli\b [^\n|;]{0,400}? [ ]-a[ ]+["']?
      | \b(?:docker|podman|helm|skopeo)\b [^\n|;]{0,400}? [ ]login\b [^\n|;]{0,400}? [ ]-p[ ]+["']?
    )
    [^\s"']+
    """,
    verbose=True,
)


def without_keyed(text: str, low: str) -> str:
    """Return ``text`` without the values under secret keys; ``low`` is it in lower case."""
    for word in _WHOLE_WORDS:
        if word in low:
            text = _WHOLE_LINE.sub(rf"\1\2{REDACTED}", text)
            break
    if "','" in low or '","' in low or "', " in low or '", ' in low:
        text = _PAIR.sub(_without_second, text)
    if "value" in low:
        if "name" in low or "key" in low:
            text = _NAMED_LATER.sub(_without_named, _NAMED.sub(_without_named, text))
        if "input_value" in low:
            text = _INPUT.sub(_without_rest, text)
    if "</" in low:
        text = _ELEMENT.sub(_without_rest, text)
        if "<key>" in low:
            text = _PLIST.sub(_without_rest, text)
    text = _by_key(text, _KEY_ENCODED if "%3" in low else _KEY)
    if "--" in low or " -" in low:
        text = _FLAG.sub(_without_flag, text)
    return without_said(text, low)


def without_said(text: str, low: str) -> str:
    """Return ``text`` without what a sentence calls a password (``the password is …``): only what looks like one."""
    if "pass" in low or "token" in low or "secret" in low or "key" in low or "auth" in low or "identified" in low:
        text = _SAID.sub(rf"\g<before>{REDACTED}", text)
    return text


def without_tools(text: str) -> str:
    """Return ``text`` without the passwords on command lines of tools that take them by a short option."""
    return _TOOLS.sub(rf"\g<before>{REDACTED}", text)


def _by_key(text: str, keys: Pattern) -> str:
    pieces: list[str] = []
    done = at = 0
    while (name := keys.search(text, at)) is not None:
        at = name.end()  # what looks like a value may be the next key: "A0= password: …"
        if not (secret_key(name["key"]) or _after_escape(text, name)) or (found := _VALUE.match(text, at)) is None:
            continue
        value, quote = found[0], found["quote"]
        follows = text[found.end() : found.end() + 1]
        if _says_nothing(name["key"], value, follows) or (quote is None and _is_key(value, follows)):
            continue
        if value.startswith("//"):  # a scheme such as "secret://name" is an address, not a value
            at = found.end()
            continue
        pieces += text[done:at], _in_place_of(value, quote)
        done = at = _end_of_value(text, name["key"], found)
    return "".join(pieces) + text[done:] if pieces else text


def _after_escape(text: str, name: re.Match[str]) -> bool:
    r"""Return whether it is a secret key once the letter of a written-out ``\n`` before it is left out."""
    return (
        text[max(0, name.start() - 1) : name.start()] == "\\"
        and name["key"][0] in "nrt"
        and secret_key(name["key"][1:])
    )


def _says_nothing(key: str, value: str, follows: str) -> bool:
    """Return whether a value is none: empty, ``None``, a place that is still to be filled, or its own key's name."""
    if value in "[({":
        return bool(follows) and follows in "])}"
    bare = value.lstrip("bBuUrRfF") if value[-1] in "\"'" else value
    bare = bare.strip("\"',;)").lower()
    if bare in _SAYS_NOTHING or _PLACEHOLDER.match(bare) is not None:
        return True
    last = key.lower().rpartition(".")[2].strip("_")
    return follows not in {"(", "["} and last == bare.rpartition(".")[2].strip("_")


def _is_key(value: str, follows: str) -> bool:
    """Return whether what looks like a value is rather the next key: ``invalid credentials: password='…'``."""
    if value[-1] not in "=:" or follows not in _OPENING or len(value) > _LONG_KEY:
        return False
    return secret_key(value[:-1]) or value[:-1].isalpha()


def _in_place_of(value: str, quote: str | None) -> str:
    """Return what stands for a value: in its quotes, if it had any, and with the end of the line that it took."""
    if quote is None:
        return REDACTED + "\n" * value.endswith("\n")
    begin = value.index(quote) + len(quote)
    return f"{value[:begin]}{REDACTED}{quote if value.endswith(quote, begin) else ''}"


def _end_of_value(text: str, key: str, found: re.Match[str]) -> int:
    """Return where a value ends: with the bracket that closes it, with the line where it is a phrase."""
    end = found.end()
    value = found[0]
    if value in "[({":
        return _closed(text, end - 1)
    if found["quote"] is None and value[:1] != "[" and text[end : end + 1] in {"(", "{"}:
        return _closed(text, end)
    if found["quote"] is None and key.lower().endswith(_PHRASES):
        line = _LINE.match(text, end)
        return end if line is None else line.end()
    return end


def _closed(text: str, at: int) -> int:
    """Return the place behind the bracket that closes the one at ``at``; the end of the text where none does."""
    depth = 0
    quote = ""
    skip = False
    for place in range(at, len(text)):
        char = text[place]
        if skip:
            skip = False
        elif char == "\\":
            skip = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "[({":
            depth += 1
        elif char in "])}":
            depth -= 1
            if depth <= 0:
                return place + 1
    return len(text)


def _without_second(found: re.Match[str]) -> str:
    return f"{found['before']}{REDACTED}{found['after']}" if secret_key(found["key"]) else found[0]


def _without_named(found: re.Match[str]) -> str:
    if not secret_key(found["key"]):
        return found[0]
    return f"{found['before']}{found['quote'] or ''}{REDACTED}{found.groupdict().get('after') or ''}"


def _without_rest(found: re.Match[str]) -> str:
    return f"{found['before']}{REDACTED}" if secret_key(found["key"]) else found[0]


def _without_flag(found: re.Match[str]) -> str:
    return f"{found[1]}{REDACTED}" if secret_key(found["key"]) else found[0]
