"""Archives of records: coffer-format(5), ARCHIVES."""
from dataclasses import dataclass

from codec import Fault, Reader
from sealing import blake2b

MAGIC = b"coffarch"
HEADER = 8 + 2 + 16 + 4


@dataclass
class Archive:
    records: dict[str, tuple[int, int, bytes]]  # by the key of the record: offset in the object, size, check
    index_end: int


def record_key(log: bytes, number: int, tag: int) -> str:
    return f"log/{log.hex()}/{number}-{tag:016x}"


def read_archive(archive: bytes, data: bytes) -> Archive:
    """What the object of the archive with this id has in it; not the records themselves."""
    r = Reader(data)
    if r.raw(8) != MAGIC:
        raise Fault("is no archive")
    r.version(r.u16(), 1, "an archive")
    if r.raw(16) != archive:
        raise Fault("is another archive")
    end = HEADER + r.u32()
    index = Reader(data[HEADER:end])
    if len(data) < end + 32 or blake2b(data[:end]) != data[end : end + 32]:
        raise Fault("has an index that does not have the hash that it says")
    records: dict[str, tuple[int, int, bytes]] = {}
    size, former = end + 32, b""
    for _ in range(index.varint()):
        log, number = index.raw(16), 0
        if former and log <= former:
            raise Fault("has an index that is not in order")
        former = log
        for _ in range(index.varint()):
            step, tag, check = index.varint(), index.u64(), index.raw(8)
            offset, length = index.varint(), index.varint()
            if step == 0:
                raise Fault("has a record twice")
            number += step
            records[record_key(log, number, tag)] = (end + 32 + offset, length, check)
            size = max(size, end + 32 + offset + length)
    if index.at != len(index.data) or not records or len(data) != size:
        raise Fault("has another size than its index says")
    return Archive(records, end + 32)


def record_in(data: bytes, place: tuple[int, int, bytes]) -> bytes:
    offset, length, check = place
    record = data[offset : offset + length]
    if blake2b(record)[:8] != check:
        raise Fault("a record in an archive is not what its index says")
    return record
