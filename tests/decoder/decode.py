#!/usr/bin/python3
"""Reads a coffer volume from a directory of its objects, with the passphrase or the recovery key.

Written from coffer-format(5) alone, and kept apart from coffer on purpose: it is a test of that page, and lets data outlive
the program. It verifies all that it reads (signatures, hash chains, hashes, seals) and ends at the first thing that does not
hold. It needs Debian's python3-nacl and python3-zstandard, and takes a store that fits in memory in pieces, not whole."""
import argparse
import stat
import sys
from datetime import datetime, timezone

from changes import BLOCK_DEVICE, CHAR_DEVICE, DIRECTORY, FIFO, FILE, SOCKET, SYMLINK, ChangesReader
from checkpoint import read_checkpoint
from codec import Fault
from contents import Packs
from fold import apply
from records import read_logs
from restore import Restorer
from slots import PASSPHRASE, RECOVERY_KEY, WrongKey, open_volume, recovery_key
from state import Volume
from store import Store, in_hex


def newest_checkpoint(store: Store) -> bytes | None:
    hints = []
    for key in store.keys("head"):
        stamp, _, root = key.removeprefix("head/checkpoint-").partition("-")
        if stamp.isdecimal() and in_hex(root, 32):
            hints.append((int(stamp), root))
    return bytes.fromhex(max(hints)[1]) if hints else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    secret = parser.add_mutually_exclusive_group(required=True)
    secret.add_argument("--passphrase-file")
    secret.add_argument("--recovery-key-file")
    parser.add_argument("--no-checkpoint", action="store_true", help="replay all records, also where a checkpoint has them")
    parser.add_argument("store")
    parser.add_argument("command", choices=["list", "restore", "objects", "log"])
    parser.add_argument("dest", nargs="?")
    args = parser.parse_args()
    store = Store(args.store)
    if args.passphrase_file:
        with open(args.passphrase_file, "rb") as f:
            keys = open_volume(store, PASSPHRASE, f.read().removesuffix(b"\n"))
    else:
        with open(args.recovery_key_file, encoding="ascii") as f:
            keys = open_volume(store, RECOVERY_KEY, recovery_key(f.read()))
    packs = Packs(store, keys)
    volume = Volume()
    root = newest_checkpoint(store)
    if root and not args.no_checkpoint:
        volume = read_checkpoint(store, keys, packs, root)
    for record in read_logs(store, keys, volume):
        for pack, place in record.places:
            packs.add(pack, place)
        if record.changes:
            apply(volume, record, *ChangesReader(record.changes).changes())
    if args.command == "restore":
        Restorer(volume, packs, args.dest).run()


if __name__ == "__main__":
    try:
        main()
    except (Fault, WrongKey) as problem:
        print(f"{type(problem).__name__}: {problem}", file=sys.stderr)
        sys.exit(3 if isinstance(problem, WrongKey) else 1)
