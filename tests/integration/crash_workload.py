#!/usr/bin/env python3
"""Writes, renames and fsyncs on a mount, and keeps a record beside it of what was acknowledged.

usage: crash_workload.py run MOUNT RECORD SEED | check MOUNT RECORD

RECORD has a line "begin JSON" before each operation and "done" after its fsync returned. After a crash everything that
was done must be there; the one operation that was only begun may have happened or not."""
import hashlib
import json
import os
import random
import sys


def read_record(path):
    """The acknowledged state {name: sha256}, and the operation in flight, if any."""
    state, begun = {}, None
    if not os.path.exists(path):
        return state, begun
    for line in open(path):
        if line.startswith("begin "):
            begun = json.loads(line[6:])
        elif line == "done\n" and begun:
            apply(state, begun)
            begun = None
    return state, begun


def apply(state, operation):
    if operation["op"] == "write":
        state[operation["name"]] = operation["sha"]
    elif operation["op"] == "rename":
        state[operation["to"]] = state.pop(operation["name"])
    else:
        state.pop(operation["name"])


def sync_directory(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def run(mount, record, seed):
    rng = random.Random(seed)
    top = os.path.join(mount, "work")
    os.makedirs(top, exist_ok=True)
    state, _ = read_record(record)
    log = open(record, "a", buffering=1)
    while True:
        name = f"f{rng.randrange(60)}"
        choice = rng.random()
        if choice < 0.7 or name not in state:
            data = rng.randbytes(rng.choice([10, 3000, 70_000, 400_000]))
            operation = {"op": "write", "name": name, "sha": hashlib.sha256(data).hexdigest()}
            log.write("begin " + json.dumps(operation) + "\n")
            # As editors do: a new file, synced, renamed over the old one.
            temporary = os.path.join(top, "new")
            with open(temporary, "wb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            os.rename(temporary, os.path.join(top, name))
        elif choice < 0.9:
            operation = {"op": "rename", "name": name, "to": f"f{rng.randrange(60, 90)}"}
            log.write("begin " + json.dumps(operation) + "\n")
            os.rename(os.path.join(top, name), os.path.join(top, operation["to"]))
        else:
            operation = {"op": "remove", "name": name}
            log.write("begin " + json.dumps(operation) + "\n")
            os.remove(os.path.join(top, name))
        sync_directory(top)
        apply(state, operation)
        log.write("done\n")


def check(mount, record):
    state, begun = read_record(record)
    after = dict(state)
    if begun:
        apply(after, begun)
    found = {}
    for name in os.listdir(os.path.join(mount, "work")):
        if name != "new":
            with open(os.path.join(mount, "work", name), "rb") as f:
                found[name] = hashlib.sha256(f.read()).hexdigest()
    if found not in (state, after):
        for name in sorted(set(found) | set(state)):
            if found.get(name) != state.get(name):
                print(f"{name}: is {found.get(name)}, was acknowledged as {state.get(name)}; in flight: {begun}")
        sys.exit(1)
    # What is there now is what the next round starts from.
    with open(record, "a") as log:
        if begun and found == after:
            log.write("done\n")
        elif begun:
            log.write("begin null\n")


if sys.argv[1] == "run":
    try:
        run(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    except OSError as e:
        print(f"ended by: {e}")
else:
    check(sys.argv[2], sys.argv[3])
