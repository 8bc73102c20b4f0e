#!/usr/bin/env python3
"""Prints one line for everything below DIR: type and mode, owner, size, mtime, what it holds, its extended attributes
(ACLs among them), and its path; of a hard link, the first path of the file.

usage: tree_digest.py DIR

What a file holds is the hash of its blocks that are not all zeros, so that a hole costs nothing and equals the zeros that
it stands for."""
import errno
import hashlib
import os
import stat
import sys

BLOCK = 1 << 16


def content(path, size):
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as f:
        at = 0
        while at < size:
            try:
                at = os.lseek(f.fileno(), at, os.SEEK_DATA) // BLOCK * BLOCK
            except OSError as e:
                if e.errno != errno.ENXIO:
                    raise
                break
            block = os.pread(f.fileno(), BLOCK, at)
            if block.strip(b"\0"):
                digest.update(b"%d:" % at)
                digest.update(block.rstrip(b"\0"))
            at += BLOCK
    return digest.hexdigest()


def attributes(path):
    digest = hashlib.sha256()
    names = sorted(os.listxattr(path, follow_symlinks=False))
    for name in names:
        value = os.getxattr(path, name, follow_symlinks=False)
        digest.update(b"%s=%d:%s" % (name.encode(), len(value), value))
    return digest.hexdigest()[:16] if names else "-"


def stop(error):
    raise error


top = os.fsencode(sys.argv[1])
links = {}
for folder, folders, files, fd in os.fwalk(top, onerror=stop):
    folders.sort()
    beneath = b"/proc/self/fd/%d/" % fd  # a path may be longer than a system call takes
    for name in sorted(files + [d for d in folders if os.path.islink(beneath + d)]) + [b"."]:
        path = beneath + name
        st = os.lstat(path)
        what = ""
        if stat.S_ISLNK(st.st_mode):
            what = repr(os.readlink(path))
        elif stat.S_ISREG(st.st_mode):
            what = content(path, st.st_size)
        elif stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
            what = f"{os.major(st.st_rdev)}:{os.minor(st.st_rdev)}"
        size = st.st_size if stat.S_ISREG(st.st_mode) else 0
        shown = repr(os.path.normpath(os.path.join(folder[len(top):].lstrip(b"/"), name)))
        first = links.setdefault(st.st_ino, shown)
        link = f" = {first}" if first != shown else ""
        print(f"{st.st_mode:o} {st.st_uid}:{st.st_gid} {size} {st.st_mtime_ns} {what} {attributes(path)} {shown}{link}")
