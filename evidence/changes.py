"""What may become of a log's file: each change of its bytes, and what is sound of it then.

Must not know the hub: what it has to make of them stands in `damage.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evidence.run import Run
from hub.event import file_name
from hub.formats import TSV

SECTOR = 512

EARLY = 2
"""Of the groups of events of a log, those that the index has saved when the hub is killed."""


@dataclass(frozen=True)
class Case:
    """One log, what was acknowledged of it, and what became of its file."""

    name: str
    form: str
    what: str
    groups: tuple[bytes, ...]
    bad: bytes

    @property
    def good(self) -> bytes:
        """What was acknowledged."""
        return b"".join(self.groups)

    @property
    def file(self) -> str:
        """The name of the file."""
        return file_name(self.name, self.form)

    @property
    def hit(self) -> int:
        """The first byte that is another, or missing."""
        pairs = zip(self.good, self.bad, strict=False)
        return next((at for at, (a, b) in enumerate(pairs) if a != b), len(self.bad))

    @property
    def sound(self) -> int:
        """Where the group that was hit begins; in a log of lines, each is one."""
        ends = [0]
        for group in self.groups:
            parts = group.split(b"\n")[:-1] if self.form == TSV else [group[:-1]]
            for part in parts:
                ends.append(ends[-1] + len(part) + 1)
        return max(end for end in ends if end <= self.hit)

    @property
    def is_early(self) -> bool:
        """Whether only what was saved before a kill is damaged, and not shorter."""
        return len(self.bad) > len(b"".join(self.groups[:EARLY])) > self.hit


@dataclass(frozen=True)
class Change:
    """Bytes from `start` to `end` become others, or with a mask one has some of its bits turned."""

    what: str
    start: int
    end: int
    bad: bytes = b""
    mask: int = 0

    def of(self, content: bytes) -> bytes:
        """The content when that has happened to it."""
        bad = bytes([content[self.start] ^ self.mask]) if self.mask else self.bad
        return content[: self.start] + bad + content[self.end :]


def cuts(good: bytes, run: Run) -> Iterator[Change]:
    """The file ends early."""
    for length in _places(good, run):
        yield Change(f"cut at {length}", length, len(good))


def flips(good: bytes, run: Run) -> Iterator[Change]:
    """A byte is another."""
    chance = run.chance("flips")
    for at in _places(good, run):
        masks = [*(1 << bit for bit in range(8)), 0xFF]
        for mask in masks if run.long else [chance.choice(masks)]:
            yield Change(f"byte {at} ^ {mask:02x}", at, at + 1, mask=mask)
        for value in b"\n\0" if run.long else b"":
            if good[at] != value:
                yield Change(f"byte {at} = {value:02x}", at, at + 1, bytes([value]))


def _places(good: bytes, run: Run) -> range:
    """Every byte, or each sixth."""
    step = run.pick(6, 1)
    return range(run.seed % step, len(good), step)


def sectors(good: bytes) -> Iterator[Change]:
    """A sector is zeros, or all from one on."""
    for at in range(0, len(good), SECTOR):
        for end in sorted({min(at + SECTOR, len(good)), len(good)}):
            yield Change(f"zeros from {at} to {end}", at, end, bytes(end - at))
