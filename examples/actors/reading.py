"""What is read out of what a player says: which words matter, what it recalls, how it lands. Pure functions of text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.store import Exchange

WORD = re.compile(r"[^\W\d_]+")
PLAIN = frozenset(
    {
        "a", "about", "am", "an", "and", "are", "as", "at", "be", "but", "by", "can", "could", "did", "do", "does",
        "for", "from", "had", "has", "have", "he", "her", "him", "his", "how", "i", "if", "in", "is", "it", "just",
        "me", "my", "no", "not", "of", "on", "or", "our", "out", "say", "she", "so", "tell", "that", "the", "their",
        "them", "then", "there", "they", "this", "to", "too", "up", "us", "was", "we", "were", "what", "when",
        "where", "which", "who", "why", "will", "with", "would", "you", "your", "yes",
    }
)  # fmt: skip
KIND = frozenset(
    {
        "thank", "thanks", "please", "sorry", "friend", "help", "kind", "good", "warm", "glad", "dear", "trust",
    }
)  # fmt: skip
HARSH = frozenset(
    {
        "liar", "lie", "lying", "stupid", "shut", "hate", "fool", "idiot", "coward", "damn", "threat", "kill",
    }
)  # fmt: skip
TRAITS = (
    ("harsh", HARSH),
    ("kind", KIND),
    ("brave", frozenset({"go", "climb", "sail", "fight", "row", "storm", "tonight", "myself", "afraid"})),
    ("curious", frozenset({"why", "how", "who", "what", "where", "when", "which"})),
)
MOST_RECALLED = 3


def plain(text: str) -> str:
    """Return the text as it is compared: its words in lower case."""
    return " ".join(WORD.findall(text.lower()))


def words(text: str) -> set[str]:
    """Return the words that matter."""
    return set(WORD.findall(text.lower())) - PLAIN


def warmth(text: str) -> int:
    """Return what it does to trust: -2 to 1."""
    said = set(WORD.findall(text.lower()))
    return -2 if said & HARSH else 1 if said & KIND or "?" in text else 0


def band(trust: int) -> str:
    """Return in a word how far somebody trusts who trusts so far out of 10."""
    return "little" if trust < 3 else "somewhat" if trust < 7 else "much"


def trait(text: str) -> str:
    """Return what the player seems to be by this, empty for nothing in particular."""
    said = set(WORD.findall(text.lower()))
    return next((name for name, signs in TRAITS if said & signs), "")


def recalled(said: str, character: str, history: Iterable[Exchange]) -> list[str]:
    """Return what the player said to the character before that has to do with this, the newest first.

    The same question again recalls nothing new, so that it is the same question.
    """
    now, wanted = plain(said), words(said)
    found: list[str] = []
    for one in reversed(list(history)):
        if one.character == character and plain(one.said) != now and words(one.said) & wanted and one.said not in found:
            found.append(one.said)
    return found[:MOST_RECALLED]
