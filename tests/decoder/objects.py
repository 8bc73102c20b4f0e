"""Each object of a store, looked at by itself: what it is, whether it is whole, and how much of it is no padding."""
from codec import Fault, Reader
from checkpoint import open_root, open_segment
from records import read_record
from sealing import AEAD_OVERHEAD, FRAME, PACK_INDEX, Keys, blake2b
from store import Store, in_hex

TRAILER = AEAD_OVERHEAD + 16
NO_PLACE = (1 << 64) - 1


def pack_bytes_in_use(keys: Keys, pack: bytes, data: bytes) -> int:
    """Opens every frame that the index names."""
    for epoch in keys.epochs:
        try:
            trailer = Reader(keys.unseal(PACK_INDEX, epoch, pack, NO_PLACE, data[-TRAILER:]))
        except Fault:
            continue
        said, index_at, index_length, zero = trailer.u32(), trailer.u32(), trailer.u32(), trailer.u32()
        if said != epoch or zero or index_at + index_length + TRAILER != len(data):
            raise Fault("its trailer makes no sense")
        r = Reader(keys.unseal(PACK_INDEX, epoch, pack, index_at, data[index_at : index_at + index_length]))
        r.version(r.u8(), 1, "a pack index")
        frames = 0
        for _ in range(r.varint()):
            at, length, wanted = r.varint(), r.varint(), r.raw(32)
            for _ in range(5):
                r.varint()
            r.string()
            sealed = data[at : at + length]
            if at + length > index_at or blake2b(sealed) != wanted:
                raise Fault(f"the frame at {at} is not the one that its index names")
            keys.unseal(FRAME, epoch, pack, at, sealed)
            frames = max(frames, at + length)
        used = frames + AEAD_OVERHEAD + r.at + TRAILER
        r.zeros()
        return used
    raise Fault("its trailer does not open")


def describe(store: Store, keys: Keys, key: str) -> tuple[str, int]:
    """What it is, and how many of its bytes are no padding."""
    kind, _, name = key.partition("/")
    data = store.get(key)
    if kind == "coffer" or kind == "head":
        return ("volume" if kind == "coffer" else "hint"), len(data)
    if kind == "slot":
        return "slot", len(data)  # opened, if it is the one that the key fits
    if kind == "log":
        number = int(name.partition("/")[2].partition("-")[0])
        return "record", read_record(store, keys, key, bytes.fromhex(name[:32]), number).used
    object_id = bytes.fromhex(key.rpartition("/")[2])
    attempts = [("pack", lambda: pack_bytes_in_use(keys, object_id, data)),
                ("root", lambda: open_root(keys, object_id, data)[1]),
                ("segment", lambda: open_segment(keys, object_id, data)[1])]
    faults = []
    for what, attempt in attempts:
        try:
            return what, attempt()
        except Fault as fault:
            faults.append(f"as a {what}: {fault}")
    raise Fault("; ".join(faults))


def is_ours(key: str) -> bool:
    parts = key.split("/")
    if parts[0] == "log" and len(parts) == 3:
        number, _, tag = parts[2].partition("-")
        return in_hex(parts[1], 32) and number.isdecimal() and in_hex(tag, 16)
    if parts[0] == "obj" and len(parts) == 3:
        return in_hex(parts[2], 32) and parts[2].startswith(parts[1])
    return key == "coffer" or parts[0] in ("slot", "head") and len(parts) == 2


def describe_objects(store: Store, keys: Keys) -> None:
    for key in filter(is_ours, store.keys()):
        try:
            what, used = describe(store, keys, key)
        except Fault as fault:
            raise Fault(f"{key}: {fault}") from None
        print(f"{what} {len(store.get(key))} {used} {key}")
