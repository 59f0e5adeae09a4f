"""The scene and who is in it, as `cast.toml` has them: what a character knows, how it speaks, what it says alone."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from actors import reading

_READ = tomllib.loads(Path(__file__).with_name("cast.toml").read_text(encoding="utf-8"))

SCENE: str = _READ["scene"]
PLACE: str = _READ["place"]


@dataclass(frozen=True, slots=True)
class Character:
    """Somebody to talk to; the last three are what the local generator speaks with."""

    id: str
    name: str
    role: str
    greeting: str
    nature: str
    topics: dict[str, list[str]]
    otherwise: list[str]
    warm: list[str]

    def system(self, trust: int, traits: list[str], recalled: list[str]) -> str:
        """Return the instructions for a language model."""
        lines = [
            f"You are {self.name}, {self.role}, in this scene: {PLACE}",
            self.nature,
            "Answer in character, in two to four sentences, without stage directions. Do not speak for the player.",
            f"You trust the player {reading.band(trust)}.",
        ]
        if traits:
            lines.append(f"You have found the player to be {', '.join(traits)}.")
        if recalled:
            lines += ["You remember that the player said:", *(f"- {one}" for one in recalled)]
        return "\n".join(lines)


CAST = {one["id"]: Character(**one) for one in _READ["character"]}
