"""Pictures of palette indices as PNG and animated GIF bytes, with nothing but zlib.

A film is one background and many pictures that are stored as what differs from it. The differences are few, so a
run of unchanged pixels is coded in whole strides (see `lzw`): a 640 x 360 picture costs milliseconds in pure Python.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CLEAR = 255  # the palette index that means "as in the background"
_CHANGED = re.compile(rb"[^\0]+")
_UNCHANGED = re.compile(rb"\xff+")


def png(pixels: bytes | bytearray, width: int, palette: bytes, scale: int = 1) -> bytes:
    """Return a PNG of the picture, each pixel as a square of `scale` x `scale`."""
    repeat = (b"\2" + bytes(width * scale)) * (scale - 1)  # filter 2, "up": the same row again
    rows = b"".join(b"\0" + row + repeat for row in _wide_rows(pixels, width, scale))
    size = struct.pack(">IIBBBBB", width * scale, len(pixels) // width * scale, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", size), (b"PLTE", palette), (b"IDAT", zlib.compress(rows, 3)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def enlarge(pixels: bytes | bytearray, width: int, scale: int) -> bytes:
    """Return the picture with each pixel as a square of `scale` x `scale`."""
    return b"".join(row * scale for row in _wide_rows(pixels, width, scale))


def _wide_rows(pixels: bytes | bytearray, width: int, scale: int) -> Iterable[bytes]:
    wide = bytearray(width * scale)
    for start in range(0, len(pixels), width):
        for offset in range(scale):
            wide[offset::scale] = pixels[start : start + width]
        yield bytes(wide)


def difference(pixels: bytes | bytearray, background: bytes | bytearray) -> bytes:
    """Return the picture with CLEAR wherever it equals the background."""
    changes = int.from_bytes(pixels, "big") ^ int.from_bytes(background, "big")
    result = bytearray(b"\xff") * len(pixels)
    for span in _CHANGED.finditer(changes.to_bytes(len(pixels), "big")):
        result[span.start() : span.end()] = pixels[span.start() : span.end()]
    return bytes(result)


def lzw(pixels: bytes) -> bytes:
    """Return the pixels as the image data of a GIF: code size, LZW codes in sub-blocks, terminator.

    All strings of CLEAR in the code table form one chain, kept in `strides`: the longest that fits is taken at once.
    """
    codes = _Bits()
    codes.put(256, 9)
    table: dict[int, int] = {}
    strides = [-1, CLEAR]  # strides[n]: the code of n times CLEAR
    free, size, at, run_end, end = 258, 9, 0, 0, len(pixels)
    while at < end:
        code = pixels[at]
        if code == CLEAR:
            if at >= run_end and (run := _UNCHANGED.match(pixels, at)):
                run_end = run.end()
            stride = min(run_end - at, len(strides) - 1)
            code = strides[stride]
            at += stride
        else:
            at += 1
        while at < end and (longer := table.get(code << 8 | pixels[at])) is not None:
            code = longer
            at += 1
        codes.put(code, size)
        if free == 4096:
            codes.put(256, size)
            table.clear()
            del strides[2:]
            free, size = 258, 9
        elif at < end:
            table[code << 8 | pixels[at]] = free
            if pixels[at] == CLEAR and code == strides[-1]:
                strides.append(free)
            if free == 1 << size:
                size += 1
            free += 1
    codes.put(257, size)
    data = codes.finish()
    blocks = (data[start : start + 255] for start in range(0, len(data), 255))
    return b"\x08" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


class _Bits:
    """Codes of 9 to 12 bits, packed from the low bit up."""

    __slots__ = ("_bytes", "_held", "_waiting")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._waiting = 0
        self._held = 0

    def put(self, code: int, size: int) -> None:
        self._waiting |= code << self._held
        self._held += size
        if self._held >= 32:
            self._bytes += (self._waiting & 0xFFFFFFFF).to_bytes(4, "little")
            self._waiting >>= 32
            self._held -= 32

    def finish(self) -> bytes:
        return bytes(self._bytes + self._waiting.to_bytes((self._held + 7) // 8, "little"))


def gif(width: int, height: int, palette: bytes, background: bytes, pictures: Iterable[bytes], delay: int) -> bytes:
    """Return an endless GIF; background and pictures as `lzw` made them, `delay` in hundredths of a second.

    Each picture is laid over the background and taken away again, so any of them may be left out.
    """
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF7, 0, 0) + palette
    loop = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    place = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0)
    keep = b"\x21\xf9\x04\x04" + struct.pack("<HBB", 2, 0, 0)  # disposal 1: leave it there
    restore = b"\x21\xf9\x04\x0d" + struct.pack("<HBB", delay, CLEAR, 0)  # disposal 3, CLEAR is transparent
    body = b"".join(restore + place + picture for picture in pictures)
    return head + loop + keep + place + background + body + b"\x3b"
