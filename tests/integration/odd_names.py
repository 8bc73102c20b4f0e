#!/usr/bin/env python3
"""Makes files, folders and links of every name that there may be, finds them again, and is told which there may not be.

usage: odd_names.py DIR"""
import errno
import os
import sys

top = os.fsencode(sys.argv[1])
os.mkdir(top)
bytes_of_names = [bytes([b]) for b in range(1, 256) if b != ord("/")]
names = [b for b in bytes_of_names if b != b"."]
names += [b"a" + b + b"z" for b in bytes_of_names]
names += [b * 255 for b in (b"n", b"\xff", "é".encode()[:1])]
names += [b"...", b". ", b" ", b"CON", b"nul.txt", "\u00e9".encode(), "e\u0301".encode(), b"A", b"a"]
names = sorted(set(names))
kinds = ("file", "folder", "link")
for kind in kinds:
    os.mkdir(os.path.join(top, kind.encode()))
for name in names:
    with open(os.path.join(top, b"file", name), "wb") as f:
        f.write(name)
    os.mkdir(os.path.join(top, b"folder", name))
    os.symlink(name, os.path.join(top, b"link", name))
for kind in kinds:
    found = sorted(os.listdir(os.path.join(top, kind.encode())))
    assert found == names, f"{kind}: {set(found) ^ set(names)}"
for name in names:
    with open(os.path.join(top, b"file", name), "rb") as f:
        assert f.read() == name
    assert os.readlink(os.path.join(top, b"link", name)) == name

too_long = os.path.join(top, b"x" * 256)
for what in (lambda: os.mkdir(too_long), lambda: open(too_long, "wb"), lambda: os.symlink(b"x", too_long),
             lambda: os.rename(os.path.join(top, b"file"), too_long), lambda: os.stat(too_long),
             lambda: os.mkfifo(too_long), lambda: os.link(os.path.join(top, b"file", b"a"), too_long)):
    try:
        what()
    except OSError as e:
        assert e.errno == errno.ENAMETOOLONG, e
    else:
        raise AssertionError("a name of 256 bytes")

# 100 levels; once more with names so long that no path leads there.
deep = top
for level in range(100):
    deep = os.path.join(deep, b"level %d \xfe" % level)
    os.mkdir(deep)
with open(os.path.join(deep, b"file"), "wb") as f:
    f.write(b"deep")
at = os.open(top, os.O_RDONLY)
for level in range(100):
    name = b"%03d" % level * 85
    os.mkdir(name, dir_fd=at)
    below = os.open(name, os.O_RDONLY, dir_fd=at)
    os.close(at)
    at = below
fd = os.open(b"bottom", os.O_CREAT | os.O_WRONLY, dir_fd=at)
os.write(fd, b"bottom")
os.close(fd)
