"""The work that is measured. Each is done on all file systems in turns before the next one is begun."""
import os
import random
import re
import shutil
import subprocess
import threading

from file_systems import Missing, program, run

PAGE = 4096
MEBIBYTE = 1 << 20


class Material:
    """What is written: made once, on the disk beside the file systems."""

    def __init__(self, place, options):
        self.o, rng = options, random.Random(1)
        self.page, self.mebibyte = rng.randbytes(PAGE), rng.randbytes(MEBIBYTE)
        self.tree = os.path.join(place, "tree")
        if options.tree:
            shutil.copytree(options.tree, self.tree, symlinks=True)
            self.files = sum(len(names) for _, _, names in os.walk(self.tree))
        else:
            self.files = options.files
            for i in range(options.files):
                where = os.path.join(self.tree, f"d{i % 97}", f"e{i % 11}")
                os.makedirs(where, exist_ok=True)
                with open(os.path.join(where, f"f{i}.c"), "wb") as f:
                    f.write(rng.randbytes(rng.choice((300, 2000, 5000, 20000)) // 2) * 2)
        self.archive = os.path.join(place, "tree.tar")
        run("tar", "-cf", self.archive, "-C", place, "tree")


def write_all(path, piece, size, sync=False):
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    for _ in range(size // len(piece)):
        os.write(fd, piece)
    if sync:
        os.fsync(fd)
    os.close(fd)


def append_synced(path, page, times):
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    for _ in range(times):
        os.write(fd, page)
        os.fsync(fd)
    os.close(fd)


# Each takes the material and a directory on the file system, and returns how many operations it was (or MB, of 10^6 bytes).

def create(m, d):
    os.mkdir(f"{d}/small")
    for i in range(m.o.files):
        fd = os.open(f"{d}/small/{i}", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644)
        os.write(fd, m.page)
        os.close(fd)
    return m.o.files


def untar(m, d):
    run("tar", "-xf", m.archive, "-C", d)
    return m.files


def copy_in(m, d):
    run("cp", "-r", m.tree, f"{d}/copy")
    return m.files


def find(m, d):
    run("find", f"{d}/tree", "-ls")
    return m.files


def read_small(m, d):
    for i in range(m.o.files):
        fd = os.open(f"{d}/small/{i}", os.O_RDONLY)
        os.read(fd, PAGE)
        os.close(fd)
    return m.o.files


def remove(m, d):
    run("rm", "-r", f"{d}/copy")
    return m.files


def write_large(m, d):
    write_all(f"{d}/large", m.mebibyte, m.o.mebibytes * MEBIBYTE, sync=True)
    return m.o.mebibytes * MEBIBYTE / 1e6


def read_large(m, d):
    fd = os.open(f"{d}/large", os.O_RDONLY)
    buffer = bytearray(MEBIBYTE)
    while os.readv(fd, [buffer]) > 0:
        pass
    os.close(fd)
    return m.o.mebibytes * MEBIBYTE / 1e6


def write_pages(m, d):
    write_all(f"{d}/pages", m.page, m.o.mebibytes // 4 * MEBIBYTE)
    return m.o.mebibytes // 4 * MEBIBYTE / 1e6


def read_pages(m, d):
    rng, last = random.Random(2), m.o.mebibytes * MEBIBYTE // PAGE - 1
    fd = os.open(f"{d}/large", os.O_RDONLY)
    for _ in range(m.o.reads):
        os.pread(fd, PAGE, rng.randint(0, last) * PAGE)
    os.close(fd)
    return m.o.reads


def append_alone(m, d):
    append_synced(f"{d}/log", m.page, m.o.appends)
    return m.o.appends


def append_together(m, d):
    each = max(1, m.o.appends // 16)
    threads = [threading.Thread(target=append_synced, args=(f"{d}/log{i}", m.page, each)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return 16 * each


def append_in_stream(m, d):
    """While somebody else writes as fast as he can."""
    stop = threading.Event()

    def stream():
        while not stop.is_set():
            fd = os.open(f"{d}/stream", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
            for _ in range(m.o.mebibytes):
                if stop.is_set():
                    break
                os.write(fd, m.mebibyte)
            os.close(fd)

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        append_synced(f"{d}/log-beside", m.page, m.o.appends // 8)
    finally:
        stop.set()
        thread.join()
    return m.o.appends // 8


def dbench(m, d):
    """MB/s as dbench says it, times its seconds."""
    os.mkdir(f"{d}/dbench")
    said = run(program("dbench"), "-c", "/usr/share/dbench/client.txt", "-D", f"{d}/dbench", "-t", str(m.o.dbench), "4",
               stdout=subprocess.PIPE).stdout
    found = re.search(r"Throughput ([0-9.]+) MB/sec", said)
    if not found:
        raise Missing("dbench says no throughput")
    return float(found.group(1)), "MB/s"


class Work:
    def __init__(self, key, title, unit, act, target=None, cold=False, needs=None):
        self.key, self.title, self.unit, self.act, self.target = key, title, unit, act, target
        self.cold, self.needs = cold, needs  # the key of the work that has to be done before


# `target`: at least so many times as fast as gocryptfs.
WORKS = (
    Work("create", "create, write 4 KiB, close", "/s", create, 4),
    Work("untar", "untar small files", "/s", untar, 4),
    Work("copy", "cp -r of them from outside", "/s", copy_in, 4),
    Work("find", "find -ls, cold", "/s", find, 2.5, cold=True, needs="untar"),
    Work("read_small", "open, read 4 KiB, cold", "/s", read_small, 4, cold=True, needs="create"),
    Work("remove", "rm -r", "/s", remove, 3, needs="copy"),
    Work("write_large", "write by 1 MiB, fsync", "MB/s", write_large, 2.5),
    Work("read_large", "read by 1 MiB, cold", "MB/s", read_large, 1.2, cold=True, needs="write_large"),
    Work("write_pages", "write by 4 KiB", "MB/s", write_pages, 10),
    Work("read_pages", "random reads of 4 KiB, cold", "/s", read_pages, 1, cold=True, needs="write_large"),
    Work("append", "append 4 KiB, fsync", "/s", append_alone),
    Work("append_16", "the same, 16 at once", "/s", append_together),
    Work("append_stream", "the same beside a stream", "/s", append_in_stream),
    Work("dbench", "dbench, 4 clients", "MB/s", dbench),
)
