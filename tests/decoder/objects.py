"""Each object of a store, looked at by itself: what it is, whether it is whole, and how much of it is no padding."""
from dataclasses import dataclass, field

from archives import read_archive, record_in
from codec import Fault, Reader, padded_size
from checkpoint import open_root, open_segment
from records import open_record, read_record
from sealing import AEAD_OVERHEAD, FRAME, PACK_INDEX, Keys, blake2b
from store import Store, in_hex

TRAILER = AEAD_OVERHEAD + 16
NO_PLACE = (1 << 64) - 1


Range = tuple[int, int]


@dataclass
class Described:
    kind: str
    used: int  # bytes that are no padding
    loose: list[Range] = field(default_factory=list)  # what no seal and no hash covers: random bytes


def describe_pack(keys: Keys, pack: bytes, data: bytes) -> Described:
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
        frames: list[Range] = []
        for _ in range(r.varint()):
            at, length, wanted = r.varint(), r.varint(), r.raw(32)
            for _ in range(5):
                r.varint()
            r.string()
            sealed = data[at : at + length]
            if at + length > index_at or blake2b(sealed) != wanted:
                raise Fault(f"the frame at {at} is not the one that its index names")
            keys.unseal(FRAME, epoch, pack, at, sealed)
            frames.append((at, at + length))
        used = max((end for _, end in frames), default=0) + AEAD_OVERHEAD + r.at + TRAILER
        r.zeros()
        if len(data) != padded_size(len(data)):
            raise Fault("has a size that no pack has")
        return Described("pack", used, gaps(frames, index_at))
    raise Fault("its trailer does not open")


def gaps(ranges: list[Range], end: int) -> list[Range]:
    result, at = [], 0
    for start, stop in sorted(set(ranges)) + [(end, end)]:
        if start > at:
            result.append((at, start))
        at = max(at, stop)
    return result


def describe(store: Store, keys: Keys, key: str) -> Described:
    kind, _, name = key.partition("/")
    data = store.get(key)
    if name.endswith((".removed", ".revoked")):
        return Described("removal" if name.endswith(".removed") else "revocation", len(data))
    if kind in ("coffer", "head", "slot"):  # a slot is opened by whoever has its secret
        return Described({"coffer": "volume", "head": "hint"}.get(kind, kind), len(data))
    if key.startswith("log/archive/"):
        return describe_archive(keys, bytes.fromhex(key.rpartition("/")[2]), data)
    if kind == "log":
        number = int(name.partition("/")[2].partition("-")[0])
        used = read_record(store, keys, key, bytes.fromhex(name[:32]), number).used
        return Described("record", used, [(used, len(data))])
    object_id = bytes.fromhex(key.rpartition("/")[2])
    faults = []
    for attempt in (describe_pack, describe_root, describe_segment):
        try:
            return attempt(keys, object_id, data)
        except Fault as fault:
            faults.append(f"by {attempt.__name__}: {fault}")
    raise Fault("; ".join(faults))


def describe_archive(keys: Keys, object_id: bytes, data: bytes) -> Described:
    archive = read_archive(object_id, data)
    used = archive.index_end
    for key, place in archive.records.items():
        _, log, name = key.split("/")
        used += open_record(record_in(data, place), keys, key, bytes.fromhex(log), int(name.partition("-")[0])).used
    return Described("archive", used)


def describe_root(keys: Keys, object_id: bytes, data: bytes) -> Described:
    return Described("root", open_root(keys, object_id, data)[1])


def describe_segment(keys: Keys, object_id: bytes, data: bytes) -> Described:
    return Described("segment", open_segment(keys, object_id, data)[1])


def is_ours(key: str) -> bool:
    parts = key.split("/")
    if parts[0] == "log" and len(parts) == 3:
        number, _, tag = parts[2].partition("-")
        if parts[1] == "archive":
            return in_hex(parts[2], 32)
        return in_hex(parts[1], 32) and number.isdecimal() and in_hex(tag, 16)
    if parts[0] == "obj" and len(parts) == 3:
        return in_hex(parts[2], 32) and parts[2].startswith(parts[1])
    return key == "coffer" or parts[0] in ("slot", "head") and len(parts) == 2


def describe_objects(store: Store, keys: Keys) -> None:
    for key in filter(is_ours, store.objects()):
        try:
            found = describe(store, keys, key)
        except Fault as fault:
            raise Fault(f"{key}: {fault}") from None
        print(f"{found.kind} {len(store.get(key))} {found.used} {key}")
