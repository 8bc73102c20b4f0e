#!/usr/bin/env python3
"""Makes one of several trees that take the same room in a store, and differ in what the store must not learn.

usage: make_variant.py VARIANT SEED DIR"""
import os
import random
import sys

variant, seed, top = sys.argv[1:]
rng = random.Random(seed)
KIB = 1024
FILE = 58  # bytes in a record, beside contents, of a file with a name of 12


def name():
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=12))


def write(path, size):
    with open(path, "wb") as f:
        f.write(rng.randbytes(size))


def files(count, size):
    for _ in range(count):
        write(os.path.join(top, name()), size)


def folders(deep):
    path = top
    for _ in range(40):
        made = os.path.join(path, name())
        os.mkdir(made)
        if deep:
            path = made
    write(os.path.join(path if deep else made, name()), 1024 * KIB)


if variant.startswith(("files-", "noted-")):
    what, count, size = variant.split("-")
    files(int(count), int(size) * KIB)
    if what == "noted":  # what five more files say beside their contents
        os.setxattr(top, "user.note", rng.randbytes(5 * FILE))
else:
    folders(variant == "deep")
