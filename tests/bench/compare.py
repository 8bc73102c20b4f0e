#!/usr/bin/env python3
"""Measures coffer beside its peers on the same disk, in one run: what is printed are times and their ratios.

usage: compare.py COFFER [--directory DIR] [--tree DIR | --files N] [--mebibytes N] [--appends N]

The tree that is unpacked is a copy of --tree (a real source tree, for figures to quote), or made up of N files.

Each file system is mounted on DIR/<name>/m with its backing files beside it; coffer's store is a directory there, and it
uploads meanwhile. As root, the kernel's caches are dropped before what is called cold. Needs git; peers are skipped when they
are not installed.
"""
import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time


def run(*command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **more)


class Coffer:
    name = "coffer"

    def __init__(self, program, place):
        self.program, self.place, self.dir = program, place, os.path.join(place, "m")
        self.options = ["--state-dir", os.path.join(place, "state"), "--passphrase-file", os.path.join(place, "pass")]
        os.makedirs(self.dir)
        with open(os.path.join(place, "pass"), "w", encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write("correct horse battery staple\n")
        os.environ["COFFER_TEST_KDF"] = "fast"
        run(program, "init", os.path.join(place, "store"), "--no-recovery-key", *self.options, stderr=subprocess.DEVNULL)

    def mount(self):
        run(self.program, "mount", os.path.join(self.place, "store"), self.dir, *self.options)

    def unmount(self):
        run(self.program, "unmount", "--now", self.dir)

    def upload(self):
        run(self.program, "sync", self.dir)


class Gocryptfs:
    name = "gocryptfs"

    def __init__(self, program, place):
        self.program, self.place, self.dir = program, place, os.path.join(place, "m")
        self.cipher = os.path.join(place, "cipher")
        os.makedirs(self.dir)
        os.makedirs(self.cipher)
        self.password = ["-extpass", "echo measured"]
        run(program, "-q", "-init", "-scryptn", "10", *self.password, self.cipher)

    def mount(self):
        run(self.program, "-q", *self.password, self.cipher, self.dir)

    def unmount(self):
        run("fusermount3" if shutil.which("fusermount3") else "fusermount", "-u", self.dir)

    def upload(self):
        pass


def drop_caches():
    os.sync()
    with contextlib.suppress(OSError), open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("3")


def make_archive(path, files, source):
    """Returns how many files are in it."""
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as tree:
        if source:
            shutil.copytree(source, tree, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git"))
            files = sum(len(names) for _, _, names in os.walk(tree))
        for i in range(0 if source else files):
            where = os.path.join(tree, f"d{i % 97}", f"e{i % 11}")
            os.makedirs(where, exist_ok=True)
            with open(os.path.join(where, f"f{i}.c"), "wb") as f:
                f.write(rng.randbytes(rng.choice((300, 2000, 5000, 20000)) // 2) * 2)
        run("git", "-C", tree, "init", "-q")
        run("git", "-C", tree, "add", ".")
        run("git", "-C", tree, "-c", "user.name=x", "-c", "user.email=x@localhost", "commit", "-qm", "x")
        with tarfile.open(path, "w") as t:
            t.add(tree, arcname="tree")
    return files


class Bench:
    def __init__(self, fs, archive, options):
        self.fs, self.archive, self.options, self.results = fs, archive, options, {}

    @contextlib.contextmanager
    def timed(self, what):
        start = time.monotonic()
        yield
        self.results[what] = time.monotonic() - start

    def remount_cold(self):
        self.fs.unmount()
        drop_caches()
        self.fs.mount()

    def run(self):
        d, o = self.fs.dir, self.options
        tree = os.path.join(d, "tree")
        self.fs.mount()
        with self.timed(f"untar {o.files} files"):
            run("tar", "-xf", self.archive, "-C", d)
        with self.timed("until they are in the store"):
            self.fs.upload()
        self.remount_cold()
        with self.timed("git status, cold"):
            run("git", "-C", tree, "status")
        with self.timed("git status, again"):
            run("git", "-C", tree, "status")
        self.remount_cold()
        with self.timed("find -ls, cold"):
            run("find", tree, "-ls")
        with self.timed("cp -r inside"):
            run("cp", "-r", tree, os.path.join(d, "copy"))
        with self.timed("rm -r of the copy"):
            run("rm", "-r", os.path.join(d, "copy"))
        self.fs.upload()
        big = os.path.join(d, "big")
        with self.timed(f"write {o.mebibytes} MiB, fsync"):
            run("dd", "if=" + o.noise, "of=" + big, "bs=1M", f"count={o.mebibytes}", "conv=fsync", stderr=subprocess.DEVNULL)
        with self.timed("until it is in the store"):
            self.fs.upload()
        self.remount_cold()
        with self.timed(f"read {o.mebibytes} MiB, cold"):
            run("dd", "if=" + big, "of=/dev/null", "bs=1M", stderr=subprocess.DEVNULL)
        with self.timed(f"{o.appends} x append 4 KiB, fsync"):
            fd = os.open(os.path.join(d, "log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
            page = os.urandom(4096)
            for _ in range(o.appends):
                os.write(fd, page)
                os.fsync(fd)
            os.close(fd)
        self.fs.unmount()
        return self.results


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("coffer")
    p.add_argument("--directory", default="/var/tmp")
    p.add_argument("--files", type=int, default=5000)
    p.add_argument("--tree")
    p.add_argument("--mebibytes", type=int, default=1024)
    p.add_argument("--appends", type=int, default=2000)
    o = p.parse_args()
    with tempfile.TemporaryDirectory(dir=o.directory) as place:
        archive, o.noise = os.path.join(place, "tree.tar"), os.path.join(place, "noise")
        o.files = make_archive(archive, o.files, o.tree)
        with open(o.noise, "wb") as f:
            for _ in range(o.mebibytes):
                f.write(os.urandom(1 << 20))
        results = {}
        for cls, program in ((Gocryptfs, shutil.which("gocryptfs")), (Coffer, os.path.realpath(o.coffer))):
            if program is None:
                print(f"{cls.name} is not installed", file=sys.stderr)
                continue
            fs_place = os.path.join(place, cls.name)
            os.makedirs(fs_place)
            drop_caches()
            results[cls.name] = Bench(cls(program, fs_place), archive, o).run()
        ours, peer = results["coffer"], results.get("gocryptfs", {})
        print(f"{'':32}{'coffer':>10}{'gocryptfs':>12}{'times as fast':>15}")
        for what, seconds in ours.items():
            other = peer.get(what)
            compared = f"{other:10.2f} s{other / seconds:15.2f}" if other and "store" not in what else ""
            print(f"{what:32}{seconds:8.2f} s{compared}")


if __name__ == "__main__":
    main()
