#!/usr/bin/env python3
"""usage: many_names.py make|change|feed DIR COUNT

make: a directory of COUNT files, one in ten of them with something in it. change: lists it again and again while one
process removes half of the names and another makes as many: each listing has every name that stays, and none twice. feed: makes
COUNT files in the directories of DIR, which somebody removes meanwhile: each is made, or its directory is gone."""
import multiprocessing
import os
import sys


def old(number):
    return f"{'stays' if number % 2 else 'goes'}-{number:06}"


def touch(path, number):
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    if number % 10 == 0:
        os.write(fd, path.encode())
    os.close(fd)


def remove(top, count):
    for number in range(0, count, 2):
        os.unlink(os.path.join(top, old(number)))


def add(top, count):
    for number in range(0, count, 2):
        touch(os.path.join(top, f"new-{number:06}"), number)


def look(top, stays):
    names = os.listdir(top)
    assert len(names) == len(set(names)), "a name is listed twice"
    missing = stays - set(names)
    assert not missing, f"{len(missing)} names are not listed, {min(missing)} among them"
    return set(names)


def feed(top, count):
    made = 0
    for number in range(count):
        try:
            touch(os.path.join(top, str(number % 10), f"fed-{number:06}"), number)
            made += 1
        except FileNotFoundError:
            pass
    print(f"{made} names were made in what was being removed")
    assert made > 0, "that shows nothing"


top, count = sys.argv[2], int(sys.argv[3])
if sys.argv[1] == "make":
    os.mkdir(top)
    for number in range(count):
        touch(os.path.join(top, old(number)), number)
    sys.exit()
if sys.argv[1] == "feed":
    feed(top, count)
    sys.exit()
stays = {old(number) for number in range(1, count, 2)}
others = [multiprocessing.Process(target=work, args=(top, count)) for work in (remove, add)]
for p in others:
    p.start()
listings = 0
while any(p.is_alive() for p in others):
    look(top, stays)
    listings += 1
    others[0].join(0.1)  # or they would hardly get the directory's lock
assert all(p.exitcode == 0 for p in others), "a process failed"
assert look(top, stays) == stays | {f"new-{number:06}" for number in range(0, count, 2)}, "the end is wrong"
print(f"{listings} listings while names came and went")
