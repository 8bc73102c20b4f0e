#!/usr/bin/env python3
"""The work of torture.sh: several mounts of one volume, random operations on each, kill -9 and partitions meanwhile.

usage: torture.py COFFER WORK SECONDS SEED NAME=STORE OPTION\\x1fOPTION\\x1f...

What is accounted for are versions: contents of 512 bytes, each unique, written over a whole file by one pwrite to a
descriptor from which the contents before were read. A version that fsync acknowledged must be the contents of some file at
the end, unless somebody who had read it wrote over it. No file may hold anything that is not a version.
"""
import json
import os
import random
import subprocess
import sys
import threading
import time

SIZE = 512
CUT_SHORT = 10  # an exit code: unmounted, and not all is in the store
TROUBLE = ("down", "stall", "status-503", "mix-20", "mix-50", "cut-up", "lost", "slow")


class Account:
    def __init__(self):
        self.lock = threading.Lock()
        self.tried, self.acknowledged, self.replaced = set(), set(), set()
        self.operations = self.failed = self.kills = 0

    def count(self, failed):
        with self.lock:
            self.operations += 1
            self.failed += failed


class Machine:
    def __init__(self, coffer, work, name, store, options, account, seed):
        self.coffer, self.name, self.store, self.options = coffer, name, store, options
        self.dir, self.state = f"{work}/m-{name}", f"{work}/state-{name}"
        self.mode_file, self.account, self.rng = f"{work}/{name}.mode", account, random.Random(f"{seed} {name}")
        self.lock = threading.Lock()  # held by each operation, and while it is mounted anew
        self.number = 0
        os.makedirs(self.dir)

    def command(self, *arguments):
        return subprocess.run([self.coffer, *arguments], check=True, stdout=subprocess.DEVNULL, timeout=300)

    def mount(self):
        self.command("mount", self.store, self.dir, "--state-dir", self.state, "--device-name", self.name, *self.options)

    def trouble(self, mode):
        with open(self.mode_file + ".new", "w", encoding="ascii") as f:
            f.write(mode)
        os.rename(self.mode_file + ".new", self.mode_file)

    def pid(self):
        said = subprocess.run([self.coffer, "status", "--json", self.dir], check=True, capture_output=True).stdout
        return json.loads(said)["pid"]

    def kill(self):
        os.kill(self.pid(), 9)
        with self.lock:
            subprocess.run(["umount", "-l", self.dir], check=True)
            self.mount()

    def leave(self, seconds):
        """Unmounts in order, so that nobody waits for it, and comes back; to an old view where files are carried."""
        with self.lock:
            self.trouble("ok")
            said = subprocess.run([self.coffer, "unmount", "--quiet", self.dir], capture_output=True, timeout=300)
            if said.returncode not in (0, CUT_SHORT):
                raise RuntimeError(f"unmount ended with {said.returncode}: {said.stderr.decode()}")
            if self.store.startswith("/"):
                time.sleep(1)  # the end of its log is carried
                self.trouble("down")
            time.sleep(seconds)
            self.mount()

    # --- work
    def version(self):
        self.number += 1
        head = f"{self.name} {self.number} ".encode()
        return head + bytes(self.rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=SIZE - len(head)))

    def paths(self):
        directories, files = [self.dir], []
        for root, names, leaves in os.walk(self.dir):
            directories += [os.path.join(root, n) for n in names]
            files += [os.path.join(root, n) for n in leaves]
        return directories, files

    def fresh_name(self, directory):
        self.number += 1
        return os.path.join(directory, f"{self.name}{self.number}")

    def put(self, fd, before):
        new = self.version()
        with self.account.lock:
            self.account.tried.add(new)
            if before:
                self.account.replaced.add(before)
        os.pwrite(fd, new, 0)
        if self.rng.random() < 0.8:
            os.fsync(fd)
            with self.account.lock:
                self.account.acknowledged.add(new)

    def overwrite(self, path):
        fd = os.open(path, os.O_RDWR)
        try:
            before = os.pread(fd, SIZE + 1, 0)
            if self.rng.random() < 0.2:
                time.sleep(self.rng.random())  # news may come
            self.put(fd, before)
        finally:
            os.close(fd)

    def create(self, path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            self.put(fd, None)
        finally:
            os.close(fd)

    def step(self):
        directories, files = self.paths()
        rng, directory = self.rng, self.rng.choice(directories)
        choice = rng.random()
        if choice < 0.15 or not files:
            # The same names on all machines, now and then.
            path = os.path.join(directory, f"shared{rng.randrange(20)}") if rng.random() < 0.5 else self.fresh_name(directory)
            self.create(path)
        elif choice < 0.65:
            self.overwrite(rng.choice(files))
        elif choice < 0.75:
            os.mkdir(os.path.join(directory, f"dir{rng.randrange(6)}"))
        elif choice < 0.85:
            os.rename(rng.choice(files), self.fresh_name(directory))
        elif choice < 0.9:
            os.rename(rng.choice(directories[1:] or files), self.fresh_name(directory))
        elif choice < 0.95:
            os.rmdir(directory)
        else:
            with open(rng.choice(files), "rb") as f:
                f.read()

    def work(self, until):
        while time.monotonic() < until:
            with self.lock:
                try:
                    self.step()
                    self.account.count(0)
                except OSError:
                    self.account.count(1)
            time.sleep(self.rng.random() * 0.05)


def contents(directory):
    found = {}
    for root, _, leaves in os.walk(directory):
        for name in leaves:
            path = os.path.join(root, name)
            with open(path, "rb") as f:
                found[os.path.relpath(path, directory)] = f.read()
    return found


def wait_until_carried(machines):
    """Until all have the same objects, when each has a directory of its own as the store."""
    stores = [m.store for m in machines if m.store.startswith("/")]
    for _ in range(600):
        names = [{os.path.join(r, n) for r, _, leaves in os.walk(s) for n in leaves} for s in stores]
        if len({frozenset(n.removeprefix(s) for n in found) for s, found in zip(stores, names)}) <= 1:
            return
        time.sleep(0.1)
    sys.exit("FAILED: the stores do not become the same")


def settle(machines):
    """Synchronizes all until nothing moves any more."""
    seen = None
    for _ in range(20):
        wait_until_carried(machines)
        for m in machines:
            m.command("sync", m.dir)
        trees = [contents(m.dir) for m in machines]
        if seen == trees and all(t == trees[0] for t in trees):
            return trees[0]
        seen = trees
    for m, t in zip(machines[1:], trees[1:]):
        for path in sorted(set(t) ^ set(trees[0])):
            print(f"only on one of {machines[0].name} and {m.name}: {path}", file=sys.stderr)
    sys.exit("FAILED: the machines do not come to the same tree")


def main():
    coffer, work, seconds, seed = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
    account, machines = Account(), []
    for spec in sys.argv[5:]:
        name, rest = spec.split("=", 1)
        store, options = rest.split(" ", 1)
        machines.append(Machine(coffer, work, name, store, [o for o in options.split("\x1f") if o], account, seed))
    for m in machines:
        m.mount()
    until = time.monotonic() + seconds
    workers = [threading.Thread(target=m.work, args=(until,)) for m in machines]
    for w in workers:
        w.start()
    rng = random.Random(seed)
    while time.monotonic() < until:
        time.sleep(rng.random() * 3)
        m = rng.choice(machines)
        chance = rng.random()
        if chance < 0.3:
            m.kill()
            account.kills += 1
        elif chance < 0.4:
            m.leave(rng.random() * 4)
        else:
            m.trouble(rng.choice(TROUBLE) if rng.random() < 0.5 else "ok")
    for w in workers:
        w.join()
    for m in machines:
        m.trouble("ok")
    tree = settle(machines)
    there = set(tree.values())
    lost = account.acknowledged - there - account.replaced
    foreign = {p: c for p, c in tree.items() if c not in account.tried and c != b""}
    copies = sum("(conflict, " in p for p in tree)
    print(f"{account.operations} operations ({account.failed} failed), {account.kills} kills, {len(account.acknowledged)} "
          f"versions acknowledged, {len(tree)} files, {copies} conflict copies")
    for version in sorted(lost):
        print("lost:", version[:20].decode(), file=sys.stderr)
    for path, content in foreign.items():
        print("no version:", path, content[:40], len(content), file=sys.stderr)
    if lost or foreign:
        sys.exit("FAILED: acknowledged versions are lost, or mixed")
    for m in machines:
        m.command("unmount", m.dir)
    wait_until_carried(machines)  # the ends of their logs, too: what looks at one store then sees all of them


if __name__ == "__main__":
    main()
