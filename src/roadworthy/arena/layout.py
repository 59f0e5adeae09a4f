"""The numbers of FORMAT.md, and the arithmetic of the buckets. Pure; nothing here opens a file."""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself would cost the start of every program that we watch
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

MAGIC: Final = int.from_bytes(b"RWARENA1", "little")
CONTROL_MAGIC: Final = int.from_bytes(b"RWCTRL_1", "little")
VERSION: Final = 1

WORD: Final = 8
HEADER_BYTES: Final = 4096
BOOT_AT: Final = 1024
BOOT_BYTES: Final = 36
INFO_AT: Final = 1088
INFO_BYTES: Final = 2944
US: Final = "\x1f"

H_MAGIC: Final = 0
H_VERSION: Final = 1
H_STATE: Final = 2
H_SIZE: Final = 3
H_PID: Final = 4
H_TICKS: Final = 5
H_GENERATION: Final = 6
H_SLOT: Final = 7
H_MONO: Final = 8
H_WALL: Final = 9
H_PPID: Final = 10
H_FLAGS: Final = 11
H_EVENTS: Final = 12
H_BEATS: Final = 15
H_INFLIGHT: Final = 18
H_MARKS: Final = 21
H_SERIES: Final = 24
H_BLOCKS: Final = 27
H_EXTENTS: Final = 30
H_OVERFLOWED: Final = 31
H_INTERNAL: Final = 32
H_EVENTS_LOST: Final = 33
H_UNTRACKED: Final = 34
H_STACK_SIGNAL: Final = 35
H_STACK_FD: Final = 36
H_PYTHON: Final = 37
H_INFO_LENGTH: Final = 38

STATE_MAKING: Final = 0
STATE_LIVE: Final = 1
STATE_CLOSED: Final = 2

FLAG_INJECTED: Final = 1
FLAG_DESCENDANT: Final = 2
FLAG_SAMPLED: Final = 4

EVENT_BYTES: Final = 512
EVENT_PAYLOAD_AT: Final = 32
EVENT_PAYLOAD: Final = EVENT_BYTES - EVENT_PAYLOAD_AT
EVENT_PARTS: Final = 8
BEAT_BYTES: Final = 128
BEAT_NAME_AT: Final = 64
BEAT_NAME: Final = 64
INFLIGHT_BYTES: Final = 256
INFLIGHT_CONTEXT_AT: Final = 32
INFLIGHT_CONTEXT: Final = INFLIGHT_BYTES - INFLIGHT_CONTEXT_AT
MARK_BYTES: Final = 64
MARK_LABEL_AT: Final = 24
MARK_LABEL: Final = MARK_BYTES - MARK_LABEL_AT
SERIES_BYTES: Final = 384
SERIES_TEXT_AT: Final = 64
SERIES_TEXT: Final = SERIES_BYTES - SERIES_TEXT_AT

SHARED_NAME: Final = "shared"
SHARED_SLOTS: Final = 4096
SHARED_BYTES: Final = 128
SHARED_OWNER: Final = 1
SHARED_FIRST_BANK: Final = 2
SHARED_BANK_WORDS: Final = 4
SHARED_HASH_AT: Final = 112

CONTROL_NAME: Final = "control"
CONTROL_BYTES: Final = 65536
CONTROL_GENERATION: Final = 1
CONTROL_LENGTH: Final = 2
CONTROL_PID: Final = 3
CONTROL_STAMP: Final = 4
CONTROL_AT: Final = 64
CONTROL_TEXT: Final = CONTROL_BYTES - CONTROL_AT

BUCKETS: Final = 384
BLOCK_SUM: Final = 384
BLOCK_MAX: Final = 385
BLOCK_WORDS: Final = 392
LARGEST: Final = (1 << 50) - 1

KINDS: Final = {"counter": 1, "gauge": 2, "histogram": 3}
MERGES: Final = {"sum": 1, "max": 2, "min": 3, "last": 4, "per_process": 5}
EVENT_KINDS: Final = {
    "log": 1,
    "error": 2,
    "warning": 3,
    "operation": 4,
    "state": 5,
    "gc": 6,
    "lag": 7,
    "usage": 8,
    "check": 9,
}
BEAT_KINDS: Final = {"heartbeat": 1, "loop": 2, "event_loop": 3, "thread": 4, "progress": 5, "collector": 6, "check": 7}
BEAT_INHERITED: Final = 0x100
MARK_KINDS: Final = {"checkpoint": 1, "ready": 2, "began": 3}


class Sizes:
    """How many slots each section of a file has; the defaults make a base file of about 1.3 MiB."""

    __slots__ = ("beats", "blocks", "events", "inflight", "marks", "series")

    # Neither a dataclass nor a NamedTuple: `dataclasses` and `typing` cost the user's program several milliseconds.

    def __init__(
        self,
        events: int = 1024,
        beats: int = 64,
        inflight: int = 256,
        marks: int = 64,
        series: int = 384,
        blocks: int = 128,
    ) -> None:
        self.events = events
        self.beats = beats
        self.inflight = inflight
        self.marks = marks
        self.series = series
        self.blocks = blocks

    @property
    def sections(self) -> tuple[tuple[int, int, int, int], ...]:
        """Return header word, offset, slots and bytes a slot (words a block) of a base file's sections, in order."""
        made = []
        at = HEADER_BYTES
        for word, slots, each, unit in (
            (H_EVENTS, self.events, EVENT_BYTES, 1),
            (H_BEATS, self.beats, BEAT_BYTES, 1),
            (H_INFLIGHT, self.inflight, INFLIGHT_BYTES, 1),
            (H_MARKS, self.marks, MARK_BYTES, 1),
            (H_SERIES, self.series, SERIES_BYTES, 1),
            (H_BLOCKS, self.blocks, BLOCK_WORDS, WORD),
        ):
            made.append((word, at, slots, each))
            at += slots * each * unit
        return tuple(made)

    @property
    def base_bytes(self) -> int:
        """Return the size of a base file in bytes."""
        _, at, slots, words = self.sections[-1]
        return at + slots * words * WORD

    @property
    def extent_bytes(self) -> int:
        """Return the size of an extent in bytes."""
        return HEADER_BYTES + self.series * SERIES_BYTES + self.blocks * BLOCK_WORDS * WORD


def bucket_of(value: int) -> int:
    """Return the bucket that a whole number of stored units falls into."""
    if value < 0:
        return 0
    if value > LARGEST:
        return BUCKETS - 1
    shift = value.bit_length() - 4
    return (shift << 3) + (value >> shift) if shift > 0 else value


def bucket_bounds(index: int) -> tuple[int, int]:
    """Return the half-open interval ``[low, high)`` of stored units that bucket ``index`` holds."""
    if index < 8:  # noqa: PLR2004 - the first eight buckets hold one number each
        return index, index + 1
    shift = index // 8 - 1
    low = (index % 8 + 8) << shift
    return low, low + (1 << shift)


def quantile(buckets: Mapping[int, int], q: float, largest: float | None = None) -> float | None:
    """Return the value below which a share ``q`` (0..1) of the values lies, in stored units; None without values.

    The answer is the middle of the bucket that holds the rank (relative error at most 6.25 %), never more than
    ``largest``.
    """
    total = sum(buckets.values())
    if total <= 0:
        return None
    rank = max(1, -(-int(q * total * 1_000_000) // 1_000_000))
    seen = 0
    for index in sorted(buckets):
        seen += buckets[index]
        if seen >= rank:
            low, high = bucket_bounds(index)
            middle = low if index < 8 else (low + high) / 2  # noqa: PLR2004 - as above
            return min(middle, largest) if largest is not None else middle
    return largest


def add_buckets(parts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Return the sum of histograms, bucket by bucket: percentiles of the result are those of all values together."""
    total: dict[int, int] = {}
    for part in parts:
        for index, count in part.items():
            total[index] = total.get(index, 0) + count
    return total
