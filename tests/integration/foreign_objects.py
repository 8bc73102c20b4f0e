#!/usr/bin/env python3
"""Objects of other programs in a directory store. usage: foreign_objects.py make|check STORE COUNT

One in two has a name that has nothing to do with ours; the others lie in our collections, with names that are nearly of our
forms, or, for packs, are. check: each is there as it was made."""
import hashlib
import os
import sys


def name(number, h):
    return [
        f"photos/{h[:2]}/{h}.jpg",
        f"backup {number}/data.tar",
        f"obj/{h[:2]}/{h[:32]}",  # as a pack is called
        f"obj/{h[:32]}",
        f"log/{h[:32]}/{number:020}-{h[:16]}",  # a number never begins with 0
        f"log/{h[:32].upper()}/{number + 1}-{h[:16]}",
        f"head/{h[:32]}-{number + 1}-{h[:15]}",
        f"head/checkpoint-{number + 1}-{h[:31]}",
        f"slot/{h}",
        f"slot/{h[:32]}.removed.bak",
    ][number % 20 if number % 20 < 10 else number % 2]


def content(number, h):
    return b"" if number % 7 == 0 else h.encode() * (number % 50)


mode, store, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in range(count):
    h = hashlib.sha256(str(number).encode()).hexdigest()
    path = os.path.join(store, name(number, h))
    if mode == "make":
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(content(number, h))
    else:
        with open(path, "rb") as f:
            assert f.read() == content(number, h), f"{path} is not what it was"
