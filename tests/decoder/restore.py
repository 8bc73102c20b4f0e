"""Writes a state as a directory, with all that a directory can hold of it."""
import os
import stat
import sys

from changes import BLOCK_DEVICE, CHAR_DEVICE, DIRECTORY, FIFO, FILE, SOCKET, SYMLINK
from contents import Packs
from state import ROOT, Inode, Volume

NODE_TYPE = {FIFO: stat.S_IFIFO, SOCKET: stat.S_IFSOCK, CHAR_DEVICE: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK}


class Restorer:
    """Works in the current directory, one level at a time, so that a path may be longer than a system call takes. What has
    several names is made in a directory beside the tree first, and linked from there."""

    def __init__(self, volume: Volume, packs: Packs, dest: str):
        self.volume, self.packs = volume, packs
        self.dest = os.path.abspath(dest)
        self.is_root = os.geteuid() == 0
        self.names = volume.names_of_files()

    def run(self) -> None:
        os.mkdir(self.dest, 0o700)
        links = self.dest + ".links"
        os.mkdir(links, 0o700)
        self.links = os.open(links, os.O_RDONLY | os.O_DIRECTORY)
        os.chdir(links)
        for number, names in self.names.items():
            if names > 1:
                self.make(b"%d" % number, self.volume.inodes[number])
        os.chdir(self.dest)
        self.fill(ROOT)
        for number, names in self.names.items():
            if names > 1:
                os.unlink(b"%d" % number, dir_fd=self.links)
        os.close(self.links)
        os.rmdir(links)

    def fill(self, top: int) -> None:
        """The current directory becomes this one."""
        waiting = [(os.fsencode(self.dest), top, iter(sorted(self.volume.inodes[top].entries.items())))]
        while waiting:
            name, number, children = waiting[-1]
            child = next(children, None)
            if child is None:
                waiting.pop()
                os.chdir("..")
                self.finish(name, self.volume.inodes[number])
                continue
            name, number = child
            inode = self.volume.inodes[number]
            if inode.type == DIRECTORY:
                os.mkdir(name, 0o700)
                os.chdir(name)
                waiting.append((name, number, iter(sorted(inode.entries.items()))))
            elif self.names[number] > 1:
                os.link(b"%d" % number, name, src_dir_fd=self.links, follow_symlinks=False)
            else:
                self.make(name, inode)

    def make(self, name: bytes, inode: Inode) -> None:
        if inode.type == FILE:
            self.write(name, inode)
        elif inode.type == SYMLINK:
            os.symlink(inode.target, name)
        else:
            try:
                os.mknod(name, NODE_TYPE[inode.type] | 0o600, inode.rdev)
            except PermissionError:
                print(f"left out, since only root may make it: {os.fsdecode(name)!r}", file=sys.stderr)
                return
        self.finish(name, inode)

    def write(self, name: bytes, inode: Inode) -> None:
        with open(name, "xb") as f:
            for piece in inode.pieces:
                plain = self.packs.plain(piece.frame)
                f.seek(piece.start)
                f.write(plain[piece.skip : piece.skip + piece.length])
            f.truncate(inode.size)

    def finish(self, name: bytes, inode: Inode) -> None:
        """Owner first, since it takes away some modes and attributes; times last."""
        if self.is_root:
            os.chown(name, inode.uid, inode.gid, follow_symlinks=False)
        if inode.type != SYMLINK:
            os.chmod(name, inode.mode)
        for attribute, value in inode.xattrs.items():
            try:
                os.setxattr(name, attribute, value, follow_symlinks=False)
            except OSError as error:
                print(f"{os.fsdecode(name)!r}: attribute {os.fsdecode(attribute)}: {error.strerror}", file=sys.stderr)
        os.utime(name, ns=(inode.atime, inode.mtime), follow_symlinks=False)

