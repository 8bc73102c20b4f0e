#!/usr/bin/python3
"""What somebody gets out of all that a store, its server and its credentials hold, who has neither passphrase nor recovery key.
It ends with 1 when it gets anything.

usage: store_operator.py OBJECTS WORDS FILE...

WORDS holds one secret a line: names, contents, attributes, sizes in decimal. FILE: logs and credentials. He has the format,
and with it the decoder; he tries
  - to find any of the words, as it is and in the usual encodings, in objects, names of objects, and files;
  - to find anything that compresses, or decompresses, in an object;
  - to open each slot with passphrases and recovery keys that suggest themselves;
  - to open a record, a pack and each slot with every key that can be made of what is readable: each run of 32 bytes of the
    volume's head, of slots, and of what is in front of seals, plain and hashed, as each kind of key."""
import base64
import hashlib
import os
import sys
import zlib
from collections.abc import Iterator

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "decoder"))
import zstandard  # noqa: E402
from codec import Fault  # noqa: E402
from objects import NO_PLACE, TRAILER, is_ours  # noqa: E402
from sealing import NONE16, PACK_INDEX, RECORD, SLOT, blake2b, subkey, unseal  # noqa: E402
from slots import PASSPHRASE, RECOVERY_KEY, Slot, WrongKey, open_volume  # noqa: E402
from store import Store  # noqa: E402

found: list[str] = []


def encodings(word: bytes) -> Iterator[bytes]:
    yield word
    yield word.hex().encode()
    yield word.hex().upper().encode()
    yield base64.b64encode(word).rstrip(b"=")[:-1]
    yield word.decode("utf-8", "replace").encode("utf-16-le")
    if word.isdigit():
        for size in (4, 8):
            for order in ("little", "big"):
                if int(word) < 1 << 8 * size:
                    yield int(word).to_bytes(size, order)


def search(where: str, data: bytes, words: list[bytes]) -> None:
    for word in words:
        for form in encodings(word):
            if form in data:
                found.append(f"{word!r} in {where}")


def unpack(where: str, data: bytes) -> None:
    if len(zlib.compress(data)) < len(data) * 0.99:
        found.append(f"{where} has structure: it compresses")
    at = data.find(b"\x28\xb5\x2f\xfd")  # a zstd frame
    while at >= 0:
        try:
            if len(zstandard.ZstdDecompressor().decompressobj().decompress(data[at:])) > 16:
                found.append(f"{where} decompresses at {at}")
        except zstandard.ZstdError:
            pass
        at = data.find(b"\x28\xb5\x2f\xfd", at + 1)


def guesses(store: Store) -> Iterator[bytes]:
    volume = store.get("coffer")[10:26]
    yield from (b"password", b"123456", b"coffer", b"correct horse battery", b"correct horse battery staple\n",
                b"Correct horse battery staple", b" ", volume, volume.hex().encode(), b"lost", b"operator")
    for file in sys.argv[3:]:
        with open(file, "rb") as f:
            yield from set(f.read().split()[:40])


def try_slots(store: Store) -> int:
    tried = 0
    for guess in guesses(store):
        as_key = hashlib.sha256(guess).digest()
        for kind, secret in ((PASSPHRASE, guess), (RECOVERY_KEY, as_key), (RECOVERY_KEY, guess[:32].ljust(32, b"\0"))):
            tried += 1
            try:
                open_volume(store, kind, secret)
                found.append(f"a slot opens with {secret!r}")
            except (WrongKey, Fault):
                pass
    return tried


def try_keys(store: Store) -> int:
    """Against each thing that could be opened, every key that could be made."""
    ours = list(filter(is_ours, store.keys()))
    volume = store.get("coffer")[10:26]
    slots = [Slot(store.get(key)) for key in ours if key.startswith("slot/")]
    records = [key for key in ours if key.startswith("log/")]
    packs = [key for key in ours if key.startswith("obj/")]
    record = store.get(records[0])
    log, number = records[0].split("/")[1:]
    pack = store.get(packs[0])
    pack_id = bytes.fromhex(packs[0].rpartition("/")[2])
    readable = [store.get("coffer"), *(slot.head for slot in slots), bytes(64), b"\xff" * 64, record[:28], pack[:24].ljust(32)]
    tried = 0
    for data in readable:
        for at in range(max(1, len(data) - 31)):
            piece = data[at : at + 32].ljust(32, b"\0")
            for key in (piece, blake2b(piece), hashlib.sha256(piece).digest()):
                targets = [(slot.sealed, SLOT, NONE16, 0, slot.id, 0, slot.head) for slot in slots]
                attempts = [(key, *t) for t in targets]
                for purpose in (None, 1, 2, 3, 4):
                    derived = key if purpose is None else subkey(key, purpose)
                    attempts.append((derived, record[4:54], RECORD, volume, 1, bytes.fromhex(log), int(number.partition("-")[0]), b"h"))
                    attempts.append((derived, pack[-TRAILER:], PACK_INDEX, volume, 1, pack_id, NO_PLACE, b""))
                for attempt in attempts:
                    tried += 1
                    try:
                        unseal(*attempt)
                        found.append(f"a key of readable bytes opens something: {attempt[0].hex()}")
                    except Fault:
                        pass
    return tried


def main() -> None:
    objects, words_file, *files = sys.argv[1:]
    with open(words_file, "rb") as f:
        words = [w for w in f.read().split(b"\n") if w]
    store = Store(objects)
    keys = store.keys()
    search("the names of objects", "\n".join(keys).encode(), words)
    for key in keys:
        data = store.get(key)
        search(key, data, words)
        if key.partition("/")[0] in ("log", "obj"):
            unpack(key, data)
    for file in files:
        with open(file, "rb") as f:
            search(file, f.read(), words)
    slots, openings = try_slots(store), try_keys(store)
    print(f"{len(words)} words in {len(keys)} objects and {len(files)} files; {slots} secrets, {openings} openings: "
          f"{len(found)} found")
    if found:
        sys.exit("FAILED:\n" + "\n".join(found[:20]))


main()
