"""What files hold, in frames of packs: coffer-format(5), PACKS."""
from dataclasses import dataclass

from codec import Fault, Reader, unzstd
from sealing import FRAME, Keys, blake2b
from store import Store


@dataclass(frozen=True)
class Frame:
    pack: bytes
    at: int
    sealed_length: int
    hash: bytes
    plain_length: int


@dataclass
class Piece:
    """A range of a file; without a frame it is a hole."""

    start: int
    length: int
    frame: Frame | None
    skip: int

    @property
    def end(self) -> int:
        return self.start + self.length

    def cut(self, start: int, end: int) -> "Piece":
        start, end = max(start, self.start), min(end, self.end)
        return Piece(start, end - start, self.frame, self.skip + start - self.start)


@dataclass
class Place:
    """Where bytes of a pack are: from `at` of an object on, they are the pack's from `first` on."""

    key: str
    at: int
    first: int
    length: int
    data: bytes | None = None  # what has been read already


class Packs:
    def __init__(self, store: Store, keys: Keys):
        self.store, self.keys = store, keys
        self.places: dict[bytes, list[Place]] = {}
        self.cached: tuple[str, bytes] = ("", b"")

    def add(self, pack: bytes, place: Place) -> None:
        self.places.setdefault(pack, []).append(place)

    def sealed(self, frame: Frame) -> bytes:
        for place in self.places.get(frame.pack, []):
            if place.first <= frame.at and frame.at + frame.sealed_length <= place.first + place.length:
                if place.key != self.cached[0]:
                    self.cached = (place.key, self.store.get(place.key))
                at = place.at + frame.at - place.first
                return self.cached[1][at : at + frame.sealed_length]
        raise Fault("no record and no checkpoint says where it is")

    def plain(self, frame: Frame) -> bytes:
        try:
            sealed = self.sealed(frame)
            if blake2b(sealed) != frame.hash:
                raise Fault("has another hash than the signed records say")
            for epoch in self.keys.epochs:
                try:
                    r = Reader(self.keys.unseal(FRAME, epoch, frame.pack, frame.at, sealed))
                except Fault:
                    continue
                method, body = r.u8(), r.rest()
                if method > 1:
                    raise Fault(f"compressed by method {method}, which this program does not know")
                plain = unzstd(body, frame.plain_length) if method else body
                if len(plain) != frame.plain_length:
                    raise Fault("has another length than it should")
                return plain
            raise Fault("does not open")
        except Fault as fault:
            raise Fault(f"frame at {frame.at} of pack {frame.pack.hex()}: {fault}") from None


def with_pieces(old: list[Piece], new: list[Piece], size: int) -> list[Piece]:
    """What pieces replace stays only around them; both are in order. What lies beyond the size is gone."""
    result = []
    at = 0  # up to here all is decided
    remaining = iter(old)
    current = next(remaining, None)

    def take_old(until: int) -> None:
        nonlocal current
        while current and current.start < until:
            kept = current.cut(at, until)
            if kept.length > 0:
                result.append(kept)
            if current.end > until:
                return
            current = next(remaining, None)

    for piece in new:
        take_old(piece.start)
        if piece.frame:
            result.append(piece)
        at = piece.end
    take_old(size)
    return [p.cut(0, size) for p in result if p.start < size]


def joined(pieces: list[Piece]) -> list[Piece]:
    """The same, with neighbours that continue each other as one."""
    result: list[Piece] = []
    for piece in pieces:
        last = result[-1] if result else None
        if last and last.end == piece.start and last.frame == piece.frame and last.skip + last.length == piece.skip:
            result[-1] = Piece(last.start, last.length + piece.length, last.frame, last.skip)
        else:
            result.append(piece)
    return result
