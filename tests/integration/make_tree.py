#!/usr/bin/env python3
"""Makes a tree with every file type and with all that a copy may lose: hard links, holes, extended attributes, ACLs,
odd modes, times and names. What only root may make is left out for others.

usage: make_tree.py DIR"""
import os
import random
import socket
import stat
import struct
import sys

rng = random.Random(5)
top = os.fsencode(sys.argv[1])
is_root = os.geteuid() == 0
NANOS = 1_000_000_000
# Before 1970, to the nanosecond, after 2038 and after 2106.
TIMES = [-2_000_000_000 * NANOS + 1, -1, 0, 1, 1_234_567_890_123_456_789, 3_000_000_000 * NANOS + 999_999_999,
         9_000_000_000 * NANOS]


def acl(*entries):
    """The attribute's value; entries are (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)


NOBODY = 0xFFFFFFFF
OWNER, USER, GROUP, NAMED_GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32


def path(*parts):
    return os.path.join(top, *parts)


def write(where, data):
    with open(where, "wb") as f:
        f.write(data)
    return where


for folder in (b"sizes", b"links", b"links/sub", b"attributes", b"modes", b"names", b"special", b"times", b"empty"):
    os.makedirs(path(folder))
for size in (0, 1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 1 << 20, 5_000_001):
    write(path(b"sizes", b"%d" % size), rng.randbytes(size))
with open(path(b"sizes", b"sparse"), "wb") as f:
    for at in (1 << 20, 100 << 20, 1 << 30):
        f.seek(at)
        f.write(rng.randbytes(10_000))
    f.truncate(3 << 30)

first = write(path(b"links", b"first"), b"one file of many names")
for name in (b"second", b"sub/third", b"sub/\xff"):
    os.link(first, path(b"links", name))
os.symlink(b"first", path(b"links", b"soft"))
os.symlink(b"/nowhere/at all", path(b"links", b"dangling"))
os.symlink(b"x" * 4000, path(b"links", b"long"))
os.symlink(b"sub", path(b"links", b"to-folder"))

for name in (b"file", b"folder"):
    what = path(b"attributes", name)
    os.mkdir(what) if name == b"folder" else write(what, b"x")
    os.setxattr(what, "user.empty", b"")
    os.setxattr(what, "user.text", "grüße".encode())
    os.setxattr(what, "user.binary", rng.randbytes(1000))
    os.setxattr(what, "system.posix_acl_access", acl(
        (OWNER, 7, NOBODY), (USER, 6, 1000), (USER, 4, 70_000), (GROUP, 5, NOBODY), (NAMED_GROUP, 1, 33), (MASK, 7, NOBODY),
        (OTHER, 0, NOBODY)))
os.setxattr(path(b"attributes", b"folder"), "system.posix_acl_default", acl(
    (OWNER, 7, NOBODY), (USER, 7, 1001), (GROUP, 5, NOBODY), (MASK, 7, NOBODY), (OTHER, 4, NOBODY)))
write(path(b"attributes", b"folder", b"inherits"), b"y")

for mode in (0o000, 0o400, 0o222, 0o644, 0o711, 0o1755, 0o2755, 0o4755, 0o7777):
    os.chmod(write(path(b"modes", b"%04o" % mode), b"x"), mode)
for mode in (0o700, 0o1777, 0o2775):
    os.mkdir(path(b"modes", b"d%04o" % mode))
    os.chmod(path(b"modes", b"d%04o" % mode), mode)

for name in (b"with space", b" leading", b"new\nline", b"tab\t", b"quote'\"", b"back\\slash", b"-rf", b"*?[a]", b"\x01\x7f",
             b"\xff\xfe not UTF-8", "é".encode(), "e\u0301".encode(), b"n" * 255):
    write(path(b"names", name), name)

os.mkfifo(path(b"special", b"fifo"), 0o640)
here = os.getcwd()
os.chdir(path(b"special"))  # the name of a socket is short
socket.socket(socket.AF_UNIX).bind("socket")
os.chdir(here)
if is_root:
    os.mknod(path(b"special", b"char"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(path(b"special", b"block"), stat.S_IFBLK | 0o660, os.makedev(259, 70_000))
    os.chown(path(b"special", b"fifo"), 12_345, 4_000_000_000)
    os.chown(path(b"links", b"soft"), 7, 8, follow_symlinks=False)
    os.setxattr(path(b"attributes", b"file"), "trusted.kept", b"by root")
    os.setxattr(path(b"links", b"dangling"), "trusted.of.a.link", b"1", follow_symlinks=False)
    # cap_net_raw+ep
    os.setxattr(write(path(b"attributes", b"program"), b"#!"), "security.capability",
                struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0))

for number, ns in enumerate(TIMES):
    os.utime(write(path(b"times", b"f%d" % number), b"x"), ns=(ns, ns))
    os.symlink(b"f%d" % number, path(b"times", b"s%d" % number))
    os.utime(path(b"times", b"s%d" % number), ns=(ns, ns), follow_symlinks=False)
    os.mkdir(path(b"times", b"d%d" % number))
    os.utime(path(b"times", b"d%d" % number), ns=(ns, ns))
os.utime(path(b"times"), ns=(5 * NANOS + 5, 5 * NANOS + 5))
os.utime(path(b"empty"), ns=(-7, -7))
