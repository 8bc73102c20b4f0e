#!/usr/bin/python3
"""Does the decoder refuse a store in which one bit is wrong, or two objects have changed places?

usage: damage.py STORE PASSPHRASE-FILE RECOVERY-KEY-FILE

Every object gets its bits flipped, one at a time, at both ends of all that it consists of and at some places between. What
is only padding, that is random and under no seal, may change unnoticed; the rest may not."""
import random
import sys

from codec import Fault
from objects import Described, describe, is_ours
from sealing import Keys
from slots import PASSPHRASE, RECOVERY_KEY, Slot, WrongKey, open_volume, recovery_key
from store import Store

PLACES = 24  # in each object
rng = random.Random(7)


class Damaged(Store):
    """A store some objects of which are not what they were."""

    def __init__(self, path: str, changed: dict[str, bytes]):
        super().__init__(path)
        self.changed = changed

    def get(self, key: str) -> bytes:
        return self.changed[key] if key in self.changed else super().get(key)


class Tester:
    def __init__(self, path: str, secrets: dict[int, bytes]):
        self.path, self.secrets = path, secrets
        self.store = Store(path)
        self.keys: Keys = open_volume(self.store, RECOVERY_KEY, secrets[RECOVERY_KEY])
        self.tried: dict[str, int] = {}

    def is_refused(self, key: str, changed: dict[str, bytes]) -> bool:
        damaged = Damaged(self.path, changed)
        try:
            if key == "coffer" or key.startswith("slot/"):
                open_volume(damaged, self.kind_of_slot(key), self.secrets[self.kind_of_slot(key)])
            else:
                describe(damaged, self.keys, key)
        except (Fault, WrongKey):
            return True
        return False

    def kind_of_slot(self, key: str) -> int:
        """What to open the volume with; slots of devices and removals are verified in any case."""
        is_slot = key.startswith("slot/") and "." not in key
        kind = Slot(self.store.get(key)).kind if is_slot else RECOVERY_KEY
        return kind if kind in self.secrets else RECOVERY_KEY

    def flip(self, key: str, found: Described, data: bytes) -> None:
        edges = {edge for around in found.loose for edge in around} | {0, 4, 54, len(data)}
        places = {p for edge in edges for p in (edge - 1, edge) if 0 <= p < len(data)}
        places |= {rng.randrange(len(data)) for _ in range(PLACES)}
        for place in sorted(places):
            # Of what a slot's passphrase has to be stretched by, the lowest bit: others would take a while.
            is_cost = key.startswith("slot/") and "." not in key and 11 <= place < 19
            bit = 1 if is_cost else 1 << rng.randrange(8)
            changed = data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
            loose = any(start <= place < end for start, end in found.loose)
            if self.is_refused(key, {key: changed}) == loose:
                sys.exit(f"FAILED: {key}, a {found.kind}: byte {place} changed, {'refused' if loose else 'not refused'}")
            self.tried[found.kind] = self.tried.get(found.kind, 0) + 1

    def run(self) -> None:
        former: dict[str, tuple[str, bytes]] = {}
        for key in filter(is_ours, self.store.objects()):
            data = self.store.get(key)
            if not data:
                continue  # a hint
            found = describe(self.store, self.keys, key)
            self.flip(key, found, data)
            for cut in (0, 3, len(data) // 2, len(data) - 1):
                if not self.is_refused(key, {key: data[:cut]}):
                    sys.exit(f"FAILED: {key}, a {found.kind}: cut to {cut} bytes, not refused")
            if found.kind in former:
                other, others_data = former[found.kind]
                for one, content in ((key, others_data), (other, data)):
                    if not self.is_refused(one, {one: content}):
                        sys.exit(f"FAILED: {one} has the content of another {found.kind}, not refused")
            former[found.kind] = (key, data)
        print("refused as they should be: " + ", ".join(f"{n} changes of a {kind}" for kind, n in self.tried.items()))


with open(sys.argv[2], "rb") as passphrase, open(sys.argv[3], encoding="ascii") as key_text:
    opened = {PASSPHRASE: passphrase.read().removesuffix(b"\n"), RECOVERY_KEY: recovery_key(key_text.read())}
Tester(sys.argv[1], opened).run()
