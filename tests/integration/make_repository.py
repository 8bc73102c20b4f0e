#!/usr/bin/env python3
"""Makes a git repository of at least FILES files in several commits, the same for the same seed.

usage: make_repository.py DIR FILES"""
import os
import random
import subprocess
import sys

directory, files = sys.argv[1], int(sys.argv[2])
rng = random.Random(20)
words = ["".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 9))) for _ in range(2000)]


def git(*arguments):
    subprocess.run(["git", "-C", directory, *arguments], check=True, stdout=subprocess.DEVNULL)


def content():
    if rng.random() < 0.05:
        return rng.randbytes(rng.randint(1, 60_000))
    lines = (" ".join(rng.choice(words) for _ in range(rng.randint(1, 14))) for _ in range(rng.randint(0, 200)))
    return "\n".join(lines).encode()


os.makedirs(directory)
git("init", "-q")
paths = []
for number in range(files):
    folder = os.path.join(directory, f"part{number % 37}", rng.choice(words))
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"{number}-{rng.choice(words)}.txt")
    with open(path, "wb") as f:
        f.write(content())
    if number % 50 == 0:
        os.chmod(path, 0o755)
    paths.append(path)
    if number % (files // 4) == files // 4 - 1:
        git("add", "-A")
        git("commit", "-q", "-m", f"{number + 1} files")
os.symlink("part0", os.path.join(directory, "link"))
for path in rng.sample(paths, files // 10):
    with open(path, "ab") as f:
        f.write(content())
git("add", "-A")
git("commit", "-q", "-m", "some change")
