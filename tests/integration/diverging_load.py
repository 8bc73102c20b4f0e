#!/usr/bin/env python3
"""Changes a volume on two machines that do not see each other's changes, again and again.

usage: diverging_load.py SEED ROUNDS COFFER DIR STORE DIR STORE

Each DIR is a mount, on a copy of the store of its own. A round makes a few random changes below DIR/shared in each, has them
published, and then carries what is new from each store to the other. The names are few, so that most changes meet."""
import os
import random
import shutil
import subprocess
import sys

seed, rounds, coffer, *places = sys.argv[1:]
mounts, stores = places[::2], places[1::2]
rng = random.Random(int(seed))
print(f"seed {seed}")


def somewhere(top):
    """A path that mostly is there, and is the same on both sides."""
    folder = os.path.join(top, "shared")
    while True:
        there = sorted(os.listdir(folder))
        name = rng.choice(there) if there and rng.random() < 0.6 else rng.choice(["a.txt", "b", "c.tar.gz", "d", "e", "b-wal", "b-journal", "d-wal"])
        path = os.path.join(folder, name)
        if not os.path.isdir(path) or os.path.islink(path) or rng.random() < 0.4 or folder.count("/") > 12:
            return path
        folder = path


def write(path):
    with open(path, "r+b" if os.path.exists(path) and rng.random() < 0.7 else "wb") as f:
        f.seek(rng.choice([0, 0, 5, 70_000, 2_000_000]))
        f.write(rng.randbytes(rng.choice([1, 100, 5000, 150_000])))
        if rng.random() < 0.2:
            f.truncate(rng.choice([0, 3, 100_000]))


def remove(path):
    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def attributes(path):
    os.chmod(path, rng.choice([0o600, 0o755]))
    os.setxattr(path, "user." + rng.choice("xyz"), rng.randbytes(4))


def change(top):
    path, other = somewhere(top), somewhere(top)
    action = rng.choice([
        lambda: write(path), lambda: write(path), lambda: write(path), lambda: write(path), lambda: os.mkdir(path),
        lambda: os.rename(path, other), lambda: os.rename(path, other), lambda: remove(path), lambda: remove(path),
        lambda: os.link(path, other), lambda: os.symlink(rng.choice("pq"), path), lambda: attributes(path),
        lambda: shutil.copyfile(path, other)])
    try:
        action()
    except OSError:
        pass  # no such file, not a directory, and the like: then nothing happens


def sync():
    for top in mounts:
        subprocess.run([coffer, "sync", "--quiet", top], check=True)


def carry():
    """As another program may carry the files of a store; hints go last."""
    for order in (["--exclude=/head"], []):
        for source, target in (stores, stores[::-1]):
            subprocess.run(["rsync", "-r", "--ignore-existing", *order, source + "/", target], check=True)


os.makedirs(os.path.join(mounts[0], "shared"))
for number in range(int(rounds)):
    sync()
    carry()
    sync()
    for _ in range(8):
        for top in mounts:
            change(top)
for _ in range(3):
    sync()
    carry()
sync()
