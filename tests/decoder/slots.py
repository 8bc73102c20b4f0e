"""From a passphrase or a recovery key to the keys of a volume: coffer-format(5), KEY SLOTS."""
from dataclasses import dataclass

import nacl.bindings
import nacl.pwhash

from codec import Fault, Reader
from sealing import NONE16, SLOT, Keys, blake2b, unseal, verify_signature
from store import Store, in_hex


class WrongKey(Exception):
    """No slot opens with what was given."""


PASSPHRASE, RECOVERY_KEY = 1, 2
REMOVED = ".removed"
STATEMENT = 300  # bytes at the end
MEMORY_KIB = (8 << 10, 4 << 20)
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def times(a: int, b: int) -> int:
    """In GF(32) modulo x^5 + x^2 + 1."""
    product = 0
    for bit in range(5):
        if b >> bit & 1:
            product ^= a << bit
    for bit in range(9, 4, -1):
        if product >> bit & 1:
            product ^= 0b100101 << (bit - 5)
    return product


def recovery_key(text: str) -> bytes:
    characters = [c for c in text.upper().replace("O", "0").replace("I", "1").replace("L", "1") if c in CROCKFORD]
    digits = [CROCKFORD.index(c) for c in characters]
    if len(digits) != 65:
        raise WrongKey(f"a recovery key has 65 characters, this one {len(digits)}")
    bits = 0
    for group in range(13):
        *data, check = digits[5 * group : 5 * group + 5]
        wanted = group + 1
        for place, digit in enumerate(data):
            wanted ^= times(1 << (place + 1), digit)
        if check != wanted:
            raise WrongKey(f"group {group + 1} of the recovery key is mistyped")
        for digit in data:
            bits = bits << 5 | digit
    if bits & 15:
        raise WrongKey("the recovery key does not end as it has to")
    return (bits >> 4).to_bytes(32, "big")


@dataclass
class Slot:
    data: bytes

    def __post_init__(self) -> None:
        r = Reader(self.data)
        if r.raw(8) != b"coffslot":
            raise Fault("not a slot")
        version = r.u16()
        r.version(version, 2, "a slot")
        self.kind, self.memory, self.passes = r.u8(), r.u32(), r.u32()
        if self.kind == PASSPHRASE and not (MEMORY_KIB[0] <= self.memory <= MEMORY_KIB[1] and 1 <= self.passes <= 64):
            raise Fault("asks for more, or less, work than a slot may")
        self.salt, self.id, self.public_key, self.binding = r.raw(16), r.raw(16), r.raw(32), r.raw(32)
        self.ephemeral, self.commitment = r.raw(32), r.raw(32)
        self.head, self.sealed = self.data[: r.at], r.rest()
        self.stated = version > 1
        if self.stated:
            if len(self.sealed) < STATEMENT:
                raise Fault("not a whole slot")
            self.sealed = self.sealed[:-STATEMENT]

    def verify(self, volume: bytes, signing_key: bytes) -> None:
        if self.stated:
            verify_signature(signing_key, b"coffer slot\0" + volume + self.data[:-64], self.data[-64:], "the slot")

    def seeds(self, secret: bytes) -> bytes:
        if self.kind == PASSPHRASE:
            return nacl.pwhash.argon2id.kdf(64, secret, self.salt, opslimit=self.passes, memlimit=1024 * self.memory)
        return blake2b(b"coffer recovery slot" + self.salt, key=secret, size=64)

    def open(self, secret: bytes, volume: bytes, signing_key: bytes) -> Keys | None:
        """None if it is the slot of another secret."""
        seeds = self.seeds(secret)
        public_key, private_key = nacl.bindings.crypto_box_seed_keypair(seeds[:32])
        if public_key != self.public_key:
            return None
        if blake2b(b"coffer slot binding" + volume + signing_key, key=seeds[32:]) != self.binding:
            raise Fault("the slot belongs to another volume")
        shared = nacl.bindings.crypto_scalarmult(private_key, self.ephemeral)
        wrapping_key = blake2b(self.ephemeral + self.public_key + self.id, key=shared)
        if blake2b(b"coffer slot commitment", key=wrapping_key) != self.commitment:
            raise Fault("the slot does not commit to its key")
        r = Reader(unseal(wrapping_key, self.sealed, SLOT, NONE16, 0, self.id, 0, self.head))
        if (r.raw(16), r.raw(32)) != (volume, signing_key):
            raise Fault("the slot's secrets are those of another volume")
        if r.u8():
            r.raw(64)
        epochs = {}
        for _ in range(r.varint()):
            epoch = r.u32()
            if epoch <= max(epochs, default=0):
                raise Fault("the slot's epochs do not rise")
            epochs[epoch] = r.raw(32)
        signed = b"coffer slot contents\0" + self.head + r.data[: r.at]
        verify_signature(signing_key, signed, r.raw(64), "the slot")
        r.zeros()
        return Keys(volume, signing_key, epochs)


def verify_removal(key: str, data: bytes, volume: bytes, signing_key: bytes) -> None:
    r = Reader(data)
    if r.raw(8) != b"coffgone":
        raise Fault(f"{key}: not a removal")
    r.version(r.u16(), 1, "a removal")
    slot = r.raw(16)
    if f"slot/{slot.hex()}{REMOVED}" != key:
        raise Fault(f"{key}: removes another slot")
    verify_signature(signing_key, b"coffer slot removal\0" + volume + slot, r.raw(64), key)
    r.end()


def open_volume(store: Store, kind: int, secret: bytes) -> Keys:
    try:
        r = Reader(store.get("coffer"))
        if r.raw(8) != b"coffer\0\0":
            raise Fault("not a coffer volume")
        r.version(r.u16(), 1, "a volume")
        volume, signing_key = r.raw(16), r.raw(32)
        r.end()
    except Fault as fault:
        raise Fault(f"coffer: {fault}") from None
    slots = store.keys("slot")
    for key in slots:
        if key.endswith(REMOVED):
            verify_removal(key, store.get(key), volume, signing_key)
    found: Keys | None = None
    for key in slots:
        if not in_hex(key.removeprefix("slot/"), 32) or key + REMOVED in slots:
            continue
        try:
            slot = Slot(store.get(key))
            if slot.id.hex() != key.removeprefix("slot/"):
                raise Fault("has the id of another slot")
            slot.verify(volume, signing_key)
            keys = slot.open(secret, volume, signing_key) if slot.kind == kind else None
        except Fault as fault:
            raise Fault(f"{key}: {fault}") from None
        if keys and found:  # two that began an epoch at the same moment: each slot knows one of them
            keys = Keys(volume, signing_key, keys.epochs | found.epochs)
        found = keys or found
    if not found:
        raise WrongKey("no slot opens with it")
    return found
