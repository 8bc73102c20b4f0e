#!/usr/bin/python3
"""Reads a coffer volume from a directory of its objects, with the passphrase or the recovery key.

Written from coffer-format(5) alone, and kept apart from coffer on purpose: it is a test of that page, and lets data outlive
the program. It verifies all that it reads (signatures, hash chains, hashes, seals) and ends at the first thing that does not
hold. It needs Debian's python3-nacl and python3-zstandard. Names and one object at a time are in memory.

Exit code 1: something is damaged or missing, and what was restored so far is not whole; 3: no slot opens."""
import argparse
import os
import stat
import sys
from datetime import datetime, timezone

from changes import SYMLINK, ChangesReader
from checkpoint import read_checkpoint
from codec import Fault
from contents import Packs
from fold import Fold
from records import is_checkpoint_behind, read_logs
from restore import Restorer
from revocations import is_void, read_revocations, vouchers_of
from slots import PASSPHRASE, RECOVERY_KEY, WrongKey, open_volume, recovery_key
from objects import describe_objects
from state import LETTER, Volume
from store import Store, in_hex


def newest_checkpoint(store: Store) -> bytes | None:
    hints = []
    for key in store.keys("head"):
        stamp, _, root = key.removeprefix("head/checkpoint-").partition("-")
        if stamp.isdecimal() and in_hex(root, 32):
            hints.append((int(stamp), root))
    return bytes.fromhex(max(hints)[1]) if hints else None



def moment(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1_000_000_000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def list_tree(volume: Volume) -> None:
    for path, _, inode in volume.tree():
        shown = repr(os.fsdecode(b"/" + b"/".join(path)))
        target = " -> " + repr(os.fsdecode(inode.target)) if inode.type == SYMLINK else ""
        mode = LETTER[inode.type] + stat.filemode(inode.mode)[1:]
        print(f"{mode} {inode.uid}:{inode.gid} {inode.size} {moment(inode.mtime)} {shown}{target}")


def read_secret(args: argparse.Namespace) -> tuple[int, bytes]:
    if args.passphrase_file:
        with open(args.passphrase_file, "rb") as f:
            return PASSPHRASE, f.read().removesuffix(b"\n")
    with open(args.recovery_key_file, encoding="ascii") as f:
        return RECOVERY_KEY, recovery_key(f.read())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    secret = parser.add_mutually_exclusive_group(required=True)
    secret.add_argument("--passphrase-file", metavar="F")
    secret.add_argument("--recovery-key-file", metavar="F")
    parser.add_argument("--no-checkpoint", action="store_true", help="replay all records, also those that a checkpoint includes")
    parser.add_argument("--newest-key", action="store_true", help="without the keys of earlier epochs: what is under them is not "
                                                                  "needed after coffer key rotate --rewrite")
    parser.add_argument("store", help="a directory with all objects of the volume, by their keys")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="everything in the volume, one line each")
    commands.add_parser("restore", help="the whole tree, as a new directory").add_argument("dest")
    commands.add_parser("objects", help="for each object: what it is, its size, and how much of that is no padding; "
                                        "verifies all of them")
    commands.add_parser("log", help="for each record: stamp, device, number, time")
    args = parser.parse_args()

    store = Store(args.store)
    keys = open_volume(store, *read_secret(args))
    if args.newest_key:
        keys.epochs = dict([max(keys.epochs.items())])
    packs = Packs(store, keys)
    volume = Volume()
    revoked = read_revocations(store, keys)
    # A checkpoint may have been made before a device was revoked, with what is void now.
    root = None if args.no_checkpoint or revoked else newest_checkpoint(store)
    if root:
        volume = read_checkpoint(store, keys, packs, root)
    included = set(volume.marks)
    records = read_logs(store, keys, volume)
    if included and is_checkpoint_behind(included, records):
        packs, volume, included = Packs(store, keys), Volume(), set()
        records = read_logs(store, keys, volume)
    records = [record for record in records if (record.log, record.number) not in included]
    if args.command == "log":
        for record in records:
            name = os.fsdecode(volume.logs[record.log].name)
            print(f"{record.stamp} {name!r} {record.log.hex()} {record.number} {moment(record.time)}")
        return
    fold = Fold(volume)
    vouchers = vouchers_of(records) if revoked else {}
    for record in records:
        if revoked and is_void(revoked, vouchers, volume, record):
            continue
        for pack, place in record.places:
            packs.add(pack, place)
        if record.changes:
            fold.apply(record, *ChangesReader(record.changes).changes())
    for conflict in fold.conflicts:
        print(f"conflict: {conflict}", file=sys.stderr)
    if args.command == "list":
        list_tree(volume)
    elif args.command == "restore":
        Restorer(volume, packs, args.dest).run()
    else:
        describe_objects(store, keys)


if __name__ == "__main__":
    try:
        main()
    except WrongKey as problem:
        print(f"no key: {problem}", file=sys.stderr)
        sys.exit(3)
    except Fault as problem:
        print(f"damaged: {problem}", file=sys.stderr)
        sys.exit(1)
    except (KeyError, ValueError, OverflowError) as problem:
        print(f"damaged: what records say does not fit together: {problem!r}", file=sys.stderr)
        sys.exit(1)
