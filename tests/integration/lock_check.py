#!/usr/bin/env python3
"""flock, fcntl and open-file-description locks keep processes apart, and go with the process.

usage: lock_check.py FILE"""
import fcntl
import os
import signal
import struct
import sys

path = sys.argv[1]
with open(path, "wb") as f:
    f.write(bytes(100))


def in_child(body):
    """Runs body(fd) in a process of its own; whether it returned true."""
    pid = os.fork()
    if pid == 0:
        result = False
        try:
            result = body(os.open(path, os.O_RDWR))
        finally:
            os._exit(0 if result else 1)
    return os.waitpid(pid, 0)[1] == 0


def flock(fd, how):
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def range_lock(fd, how, start, length):
    try:
        fcntl.lockf(fd, how | fcntl.LOCK_NB, length, start)
        return True
    except BlockingIOError:
        return False


def holder(fd, start, length):
    """The process that keeps us from locking the range, or None."""
    answer = fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, length, 0))
    kind, _, _, _, pid = struct.unpack("hhqqi4x", answer)
    return None if kind == fcntl.F_UNLCK else pid


fd = os.open(path, os.O_RDWR)
assert flock(fd, fcntl.LOCK_SH)
assert in_child(lambda other: flock(other, fcntl.LOCK_SH)), "two may share"
assert not in_child(lambda other: flock(other, fcntl.LOCK_EX)), "exclusive beside shared"
assert flock(fd, fcntl.LOCK_EX)
assert not in_child(lambda other: flock(other, fcntl.LOCK_SH)), "shared beside exclusive"
assert flock(fd, fcntl.LOCK_UN)
assert in_child(lambda other: flock(other, fcntl.LOCK_EX)), "not given back"
assert flock(fd, fcntl.LOCK_EX), "a process that ended keeps its lock"
assert flock(fd, fcntl.LOCK_UN)

assert range_lock(fd, fcntl.LOCK_EX, 10, 10)
assert in_child(lambda other: range_lock(other, fcntl.LOCK_EX, 20, 10)), "ranges that do not overlap"
assert not in_child(lambda other: range_lock(other, fcntl.LOCK_SH, 19, 1)), "ranges that overlap"
parent = os.getpid()
assert in_child(lambda other: holder(other, 0, 100) == parent and holder(other, 0, 10) is None), "F_GETLK"
description = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 15, 1, 0)


def description_lock(other):
    try:
        fcntl.fcntl(other, fcntl.F_OFD_SETLK, description)
        return True
    except BlockingIOError:
        return False


assert not in_child(description_lock), "F_OFD_SETLK beside a lock of a process"

# One that waits gets the lock when it is given back, and when its holder is killed.
for how in ("unlock", "kill"):
    fcntl.lockf(fd, fcntl.LOCK_UN)
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        mine = os.open(path, os.O_RDWR)
        fcntl.lockf(mine, fcntl.LOCK_EX, 10, 10)
        os.write(tell, b"x")
        if how == "unlock":
            fcntl.lockf(mine, fcntl.LOCK_UN, 10, 10)
        signal.pause()
    os.read(told, 1)
    if how == "kill":
        os.kill(pid, signal.SIGKILL)
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 10)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

# A counter behind a lock: none is lost.
EACH = 300
pids = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        mine = os.open(path, os.O_RDWR)
        for _ in range(EACH):
            fcntl.flock(mine, fcntl.LOCK_EX)
            value = int.from_bytes(os.pread(mine, 8, 50), "little")
            os.pwrite(mine, (value + 1).to_bytes(8, "little"), 50)
            fcntl.flock(mine, fcntl.LOCK_UN)
        os._exit(0)
    pids.append(pid)
assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
counted = int.from_bytes(os.pread(fd, 8, 50), "little")
assert counted == 4 * EACH, f"counted {counted}"
