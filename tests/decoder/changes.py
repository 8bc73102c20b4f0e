"""What a record changes: coffer-format(5), Changes."""
from dataclasses import dataclass, field

from codec import Fault, Reader, signed64
from contents import Frame, Piece


FILE, DIRECTORY, SYMLINK, FIFO, SOCKET, CHAR_DEVICE, BLOCK_DEVICE = range(1, 8)
MADE, CHANGED, REMOVED = 1, 2, 3


@dataclass
class Content:
    base: int  # 0 of a file that is made
    version: int
    size: int
    pieces: list[Piece]


@dataclass
class InodeChange:
    inode: int
    kind: int
    type: int
    fields: dict[str, int | bytes] = field(default_factory=dict)
    content: Content | None = None
    xattrs: dict[bytes, bytes | None] = field(default_factory=dict)
    seen_version: int = 0  # of REMOVED


@dataclass
class EntryChange:
    type: int
    directory: int
    name: bytes
    before: int | None
    after: int | None


def checked_name(name: bytes) -> bytes:
    """No member, however hostile, makes it write elsewhere."""
    if not 1 <= len(name) <= 255 or b"/" in name or b"\0" in name or name in (b".", b".."):
        raise Fault(f"no name of a file: {name!r}")
    return name


@dataclass
class Move:
    """A frame that was sealed anew: where a range of the file shows it, that shows the frame of `to` then."""

    inode: int
    pack: bytes
    at: int
    to: Piece


class ChangesReader(Reader):
    def changes(self) -> tuple[list[InodeChange], list[EntryChange], list[Move]]:
        layout = self.u8()
        if layout not in (1, 2):
            self.version(layout, 2, "changes")
        self.last_inode = 0
        self.packs = [self.raw(16) for _ in range(self.varint())]
        inodes = [self.inode_change() for _ in range(self.varint())]
        self.directory = 0
        entries = [self.entry_change() for _ in range(self.varint())]
        moves: list[Move] = []
        if layout == 2:
            for _ in range(self.varint()):
                moves.append(self.move(moves[-1] if moves else None))
        self.end()
        return inodes, entries, moves

    def inode(self) -> int:
        self.last_inode = (self.last_inode + self.svarint()) % (1 << 64)
        return self.last_inode

    def inode_change(self) -> InodeChange:
        inode, what = self.inode(), self.u8()
        change = InodeChange(inode, what >> 4, what & 15)
        if change.kind == REMOVED:
            change.seen_version = self.u64()
            return change
        if change.kind not in (MADE, CHANGED) or not FILE <= change.type <= BLOCK_DEVICE:
            raise Fault("an inode change of an unknown kind")
        present = self.varint()
        if present >= 4096:
            raise Fault("fields that this program does not know")
        for bit, name in ((1, "mode"), (2, "uid"), (4, "gid"), (8, "rdev")):
            if present & bit:
                change.fields[name] = self.varint()
        previous = None
        for bit, name in ((32, "mtime"), (64, "ctime"), (16, "atime"), (128, "btime")):
            if present & bit:
                previous = self.i64() if previous is None else signed64(previous + self.svarint())
                change.fields[name] = previous
        if present & 256:
            change.fields["target"] = self.string()
        if present & 2048:
            change.fields["origin"] = self.u64()
        if present & 512:
            change.content = self.content(change.kind)
        if present & 1024:
            for _ in range(self.varint()):
                name = self.string()
                change.xattrs[name] = self.string() if self.u8() else None
        return change

    def content(self, kind: int) -> Content:
        base = self.u64() if kind == CHANGED else 0
        content = Content(base, self.u64(), self.varint(), [])
        at, frame = 0, None
        for _ in range(self.varint()):
            flags, start, length = self.u8(), at + self.varint(), self.varint()
            at = start + length
            if flags & 1:
                content.pieces.append(Piece(start, length, None, 0))
                continue
            skip, plain_length = 0, length
            if not flags & 2:
                skip = self.varint()
                if not flags & 4:
                    plain_length = self.varint()
            if flags & 4:
                if not frame:
                    raise Fault("the same frame as none")
            elif flags & 8:
                if not frame:
                    raise Fault("a frame that follows none")
                frame = Frame(frame.pack, frame.at + frame.sealed_length, self.varint(), self.raw(32), plain_length)
            else:
                number = self.varint()
                if number >= len(self.packs):
                    raise Fault("a pack that is not in the list")
                frame = Frame(self.packs[number], self.varint(), self.varint(), self.raw(32), plain_length)
            if skip + length > frame.plain_length:
                raise Fault("a piece that is longer than its frame")
            content.pieces.append(Piece(start, length, frame, skip))
        return content

    def pack(self) -> bytes:
        number = self.varint()
        if number >= len(self.packs):
            raise Fault("a pack that is not in the list")
        return self.packs[number]

    def move(self, last: Move | None) -> Move:
        flags = self.u8()
        if flags & ~2 and not last:
            raise Fault("a move that goes on from none")
        inode = last.inode if flags & 1 else self.inode()
        start = (last.to.end if flags & 1 else 0) + self.varint()
        length = self.varint()
        skip, plain_length = (0, length) if flags & 2 else (self.varint(), self.varint())
        if skip + length > plain_length:
            raise Fault("a piece that is longer than its frame")
        pack = last.pack if flags & 4 else self.pack()
        at = self.varint()
        if flags & 8:
            to_pack, to_at = last.to.frame.pack, last.to.frame.at + last.to.frame.sealed_length
        else:
            to_pack, to_at = self.pack(), self.varint()
        frame = Frame(to_pack, to_at, self.varint(), self.raw(32), plain_length)
        return Move(inode, pack, at, Piece(start, length, frame, skip))

    def entry_change(self) -> EntryChange:
        flags = self.u8()
        if not flags & 32:
            self.directory = self.inode()
        name = checked_name(self.string())
        before = self.inode() if flags & 8 else None
        after = self.inode() if flags & 16 else None
        return EntryChange(flags & 7, self.directory, name, before, after)
