"""The look of the film: colours, sprites and letters, drawn as text."""

from __future__ import annotations

from itertools import pairwise

Colour = tuple[int, int, int]
Spans = tuple[tuple[int, int, bytes], ...]  # (down, right, indices): the visible runs of a sprite

SHADES = 6
# One ramp for each Biome, from shadow to light: three colours, joined to SHADES.
_RAMPS = (
    ("14294f", "1a3a68", "204a7c"),  # deep
    ("25588c", "3585ae", "7cc9cf"),  # sea, up to the foam
    ("b08a57", "d9bd83", "f4e3b2"),  # beach
    ("7d7a36", "b0a850", "d9cf7c"),  # steppe
    ("3f6b2f", "649a40", "9cc95f"),  # meadow
    ("1f4a2e", "32693a", "568f4a"),  # forest
    ("39503e", "567258", "7f9a76"),  # marsh
    ("5b5138", "8c8054", "bdb27c"),  # hills
    ("3d3a44", "6b6770", "a8a4a6"),  # crags
    ("8fa3bf", "ccd9e8", "ffffff"),  # snow
    ("2f6f9f", "4c9cc4", "a8e0e6"),  # river
)
_NAMED = {
    "leaf dark": "17392a", "leaf": "27593a", "leaf light": "4c8a4a", "bark": "4a3424",
    "stone dark": "4b4a55", "stone": "8d8b94", "stone light": "c9c6c4", "roof dark": "8c2f39", "roof": "c8553d",
    "thatch dark": "8a5a2b", "thatch": "c99a4b", "wall": "e6d3a8", "ink": "1b1420", "cloak dark": "8e1f3b",
    "cloak": "d7263d", "skin": "f2c9a0", "deer": "a8713a", "deer light": "e0b98a", "trail": "6e5a42", "spark": "d6f6f2",
    # From here on untouched by the time of day: lamps and letters.
    "lamp": "ffd76a", "path": "fff1c4", "path dim": "d9a441", "goal": "ff6b6b", "panel": "191425",
    "panel edge": "4a3f63", "title": "fdf3d8", "words": "a99fc2",
}  # fmt: skip
COLOURS = {name: len(_RAMPS) * SHADES + place for place, name in enumerate(_NAMED)}
LIT_FROM = COLOURS["lamp"]
SHADOW = 128  # the same colour under a cloud is this much further in the palette
SHADED = bytes(i if i >= LIT_FROM else i + SHADOW for i in range(SHADOW)) + bytes(range(SHADOW, 256))

# How the light of a time of day multiplies red, green and blue.
_LIGHTS = {"dawn": (1.08, 0.92, 0.88), "day": (1.0, 1.0, 1.0), "dusk": (1.06, 0.76, 0.70), "night": (0.42, 0.50, 0.80)}


def _rgb(text: str) -> Colour:
    red, green, blue = bytes.fromhex(text)
    return red, green, blue


def _base() -> list[Colour]:
    colours: list[Colour] = []
    for ramp in _RAMPS:
        anchors = [_rgb(text) for text in ramp]
        for shade in range(SHADES):
            part, rest = divmod(shade * (len(anchors) - 1), SHADES - 1)
            start, stop = [*pairwise(anchors), (anchors[-1], anchors[-1])][part]
            red, green, blue = (a + (b - a) * rest // (SHADES - 1) for a, b in zip(start, stop, strict=True))
            colours.append((red, green, blue))
    return colours + [_rgb(text) for text in _NAMED.values()]


def palette(light: str) -> bytes:
    """Return 256 colours, three bytes each: everything in this light, then the same under a cloud."""
    tint = _LIGHTS[light]
    table = bytearray(768)
    for index, colour in enumerate(_base()):
        lit = colour if index >= LIT_FROM else _times(colour, tint)
        table[3 * index : 3 * index + 3] = bytes(lit)
        table[3 * (index + SHADOW) : 3 * (index + SHADOW) + 3] = bytes(_times(lit, (0.66, 0.70, 0.82)))
    return bytes(table)


def _times(colour: Colour, tint: tuple[float, float, float]) -> Colour:
    red, green, blue = (min(255, round(part * by)) for part, by in zip(colour, tint, strict=True))
    return red, green, blue


_INKS = {
    "d": "leaf dark", "l": "leaf", "L": "leaf light", "b": "bark", "s": "stone dark", "S": "stone", "W": "stone light",
    "r": "roof dark", "R": "roof", "t": "thatch dark", "T": "thatch", "w": "wall", "k": "ink", "c": "cloak dark",
    "C": "cloak", "f": "skin", "e": "deer", "E": "deer light", "o": "lamp", "g": "goal", "p": "path",
}  # fmt: skip


def _sprite(text: str) -> Spans:
    """Return the runs of inked characters, top row first; a dot is see-through."""
    spans: list[tuple[int, int, bytes]] = []
    for down, line in enumerate(text.split()):
        right = 0
        for piece in line.replace(".", " . ").split():
            if piece == ".":
                right += 1
                continue
            spans.append((down, right, bytes(COLOURS[_INKS[ink]] for ink in piece)))
            right += len(piece)
    return tuple(spans)


PINE = _sprite("..d.. .dL.. .dlL. ddlL. dllLL ..b..")
OAK = _sprite(".dll. dlLLl dllLl .dll. ..b..")
REED = _sprite("L.l l.l")
PEAK = _sprite("...W... ..sWW.. ..sSW.. .ssSSW. ssssSSS")
ROCK = _sprite(".kkk. kSWWk ksSSk .kkk.")
TRUNK = _sprite("k.... kTTTk kbbbk .kkkk")
DEER = _sprite("...e .eeE ekek")
WALKER = (
    _sprite("..kkk.. .kCCCk. .kffkk. .kkfkk. kCCCCck kCCCcck kCCCcck .kk.kk."),
    _sprite("..kkk.. .kCCCk. .kffkk. .kkfkk. kCCCCck kCCCcck kCCccck ..kkk.."),
)
FLAG = (_sprite("kggg. kgggg kggg. k.... k.... k...."), _sprite("kgg.. kgggg k.ggg k.... k.... k...."))
PLACES = {
    "castle": _sprite(
        "k.k...k.k SkS.r.SkS SSS.R.SSS SWSrRrSWS sSskRkssS sSSSSSSSs sSoSkSoSs sSSkkkSSs sssksksss",
    ),
    "village": _sprite("..rr....... .rRRr..tt.. rRRRRrtTTt. kwwwwktTTTt kwowwkkwwwk kwwkwkkwokk kkkkkkkkkkk"),
    "tower": _sprite("..r.. .rRr. rRRRr kSSWk kSoWk .SSW. .SSW. .sSS. kssSk"),
    "shrine": _sprite("...o... .kWWWk. kWWWWWk .S.o.S. .S.o.S. .W.W.W. kkkkkkk"),
}

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:-'!?%+/() "
# A letter is five rows of three dots; each octal digit is one row.
_GLYPHS = """
    25755 65656 34443 65556 74647 74644 34553 55755 72227 11152 55655 44447 57755 65555 25552 65644 25563
    65655 34216 72222 55557 55552 55775 55255 55222 71247 75557 26227 61247 61216 55711 74616 34652 71122
    25252 25316 00002 00024 02020 00700 22000 22202 61202 51245 02720 11244 12221 42224 00000
"""
GLYPHS = {
    letter: tuple((row, 2 - bit) for row in range(5) for bit in range(3) if int(rows[row]) >> bit & 1)
    for letter, rows in zip(_LETTERS, _GLYPHS.split(), strict=True)
}
