#!/usr/bin/env python3
"""Carries files between directories that are to be the same, as the programs do that keep a folder in step on several
machines: out of order, late, now and then visible before they are whole. What vanishes in one place is removed in the
others. It ends with its parent.

usage: carrier.py SEED NAME=DIRECTORY=MODE-FILE...
A mode file says what its machine's line does: ok, down or stall (nothing goes either way), anything else is slow.
"""
import os
import random
import sys
import time

TEMPORARY = ".carried-"


class Place:
    def __init__(self, spec):
        self.name, self.directory, self.mode_file = spec.split("=")
        self.had = set()  # what was here, and everywhere, at some time

    def mode(self):
        with open(self.mode_file, encoding="ascii") as f:
            return f.read().strip()

    def files(self):
        found = set()
        for root, _, names in os.walk(self.directory):
            # A store's own unfinished files have names that are no keys; folders in step carry those, too.
            found |= {os.path.relpath(os.path.join(root, n), self.directory) for n in names if not n.startswith(TEMPORARY)}
        return found

    def path(self, name):
        return os.path.join(self.directory, name)


def carry(rng, source, target, name):
    try:
        with open(source.path(name), "rb") as f:
            data = f.read()
    except FileNotFoundError:
        return False
    path = target.path(name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if rng.random() < 0.1:
        with open(path, "wb") as f:  # not whole yet
            f.write(data[: rng.randrange(len(data) + 1)])
        time.sleep(rng.random() * 0.3)
    temporary = os.path.join(os.path.dirname(path), TEMPORARY + os.path.basename(path))
    with open(temporary, "wb") as f:
        f.write(data)
    os.rename(temporary, path)
    return True


def step(rng, places):
    modes = {p.name: p.mode() for p in places}
    for source in places:
        for target in places:
            lines = {modes[source.name], modes[target.name]}
            if source is target or lines & {"down", "stall"}:
                continue
            here, there = source.files(), target.files()
            for name in sorted((source.had & target.had & there) - here):
                os.unlink(target.path(name))
                target.had.discard(name)
                source.had.discard(name)
            todo = sorted(here - there - target.had)
            rng.shuffle(todo)
            if lines != {"ok"}:
                todo = todo[: len(todo) // 3]
            for name in todo:
                if carry(rng, source, target, name):
                    source.had.add(name)
                    target.had.add(name)


def main():
    rng, places = random.Random(sys.argv[1]), [Place(spec) for spec in sys.argv[2:]]
    parent = os.getppid()
    for p in places:
        p.had = p.files()
    while os.getppid() == parent:
        step(rng, places)
        time.sleep(0.05 + rng.random() * 0.3)


if __name__ == "__main__":
    main()
