"""What the records of a volume add up to."""
from dataclasses import dataclass, field
from typing import Iterator

from changes import BLOCK_DEVICE, CHAR_DEVICE, DIRECTORY, FIFO, FILE, SOCKET, SYMLINK
from codec import Fault
from contents import Piece


ROOT = 1
LETTER = {FILE: "-", DIRECTORY: "d", SYMLINK: "l", FIFO: "p", SOCKET: "s", CHAR_DEVICE: "c", BLOCK_DEVICE: "b"}


@dataclass
class Inode:
    type: int
    mode: int = 0
    uid: int = 0
    gid: int = 0
    rdev: int = 0
    mtime: int = 0
    ctime: int = 0
    atime: int = 0
    btime: int = 0
    target: bytes = b""
    origin: int = 0
    size: int = 0
    version: int = 0
    pieces: list[Piece] = field(default_factory=list)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    entries: dict[bytes, int] = field(default_factory=dict)


@dataclass
class Log:
    device: bytes
    public_key: bytes
    name: bytes
    newest: int = 0
    newest_time: int = 0


@dataclass
class Volume:
    """What the records add up to, so far."""

    inodes: dict[int, Inode] = field(default_factory=dict)
    logs: dict[bytes, Log] = field(default_factory=dict)
    marks: dict[tuple[bytes, int], tuple[bytes, int]] = field(default_factory=dict)  # hash and stamp of each record

    def tree(self) -> Iterator[tuple[list[bytes], int, Inode]]:
        """Each name below the root with the names above it, directories before what is in them."""
        waiting: list[tuple[list[bytes], int]] = [([], ROOT)]
        seen = set()
        while waiting:
            path, number = waiting.pop()
            inode = self.inodes[number]
            yield path, number, inode
            if inode.type == DIRECTORY:
                if number in seen:
                    raise Fault(f"directory {number} has two names")
                seen.add(number)
                waiting += [(path + [name], child) for name, child in sorted(inode.entries.items(), reverse=True)]

    def names_of_files(self) -> dict[int, int]:
        """How many names each inode that is no directory has."""
        count: dict[int, int] = {}
        for _, number, inode in self.tree():
            if inode.type != DIRECTORY:
                count[number] = count.get(number, 0) + 1
        return count
