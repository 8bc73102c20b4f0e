"""The records and their logs: coffer-format(5), RECORDS."""
import struct
from dataclasses import dataclass

from codec import Fault, Reader, padded_size
from contents import Place
from sealing import AEAD_OVERHEAD, NONE16, NONE32, RECORD, Keys, NoKey, blake2b, certificate, read_certificate, verify_signature
from state import Log, Volume
from store import Store, in_hex, object_key


OPENING, CLOSING, ACKNOWLEDGEMENT, VOUCHED_FOR = 1, 2, 4, 8
NO_CHANGES = b"\1\0\0\0"


@dataclass
class Record:
    log: bytes
    number: int
    key: str
    stamp: int
    previous: bytes
    time: int
    flags: int
    certificate: bytes
    device_name: bytes
    predecessor: tuple[bytes, int, bytes]
    heads: list[tuple[bytes, int, bytes]]
    places: list[tuple[bytes, Place]]
    changes: bytes
    hash: bytes
    signed: bytes
    signature: bytes
    used: int  # bytes of the object before its padding

    def where(self) -> str:
        return f"record {self.number} of log {self.log.hex()}"


def read_record(store: Store, keys: Keys, key: str, log: bytes, number: int) -> Record:
    return open_record(store.get(key), keys, key, log, number)


def open_record(data: bytes, keys: Keys, key: str, log: bytes, number: int) -> Record:
    epoch = Reader(data).u32()
    head = Reader(keys.unseal(RECORD, epoch, log, number, data[4:54], b"h"))
    head.version(head.u16(), 1, "a record")
    body_length, carried_length = head.u32(), head.u32()
    r = Reader(data)
    r.raw(54)
    body = keys.unseal(RECORD, epoch, log, number, r.raw(body_length + AEAD_OVERHEAD), b"b")
    carried_at, carried = r.at, r.raw(carried_length)
    if len(data) != padded_size(r.at):
        raise Fault("has another size than its contents make it")

    signed, signature = body[:-64], body[-64:]
    b = Reader(signed)
    b.version(b.u16(), 1, "a record")
    stamp, previous, time, flags = b.u64(), b.raw(32), b.i64(), b.u8()
    opening = bool(flags & OPENING)
    card = read_certificate(b, bool(flags & VOUCHED_FOR)) if opening else b""
    device_name = b.string() if opening else b""
    predecessor = (b.raw(16), b.u64(), b.raw(32)) if opening else (NONE16, 0, NONE32)
    heads = [(b.raw(16), b.varint(), b.raw(32)) for _ in range(b.varint())]
    places = []
    for _ in range(b.varint()):
        pack, where = b.raw(16), b.u8()
        if where == 0:
            places.append((pack, Place(object_key(pack), 0, 0, b.varint())))
        elif where == 1:
            at, first, length = b.varint(), b.varint(), b.varint()
            if at + length > carried_length:
                raise Fault("a pack that lies beyond what is carried")
            places.append((pack, Place(key, carried_at + at, first, length)))
        else:
            raise Fault("a pack in an unknown place")
    if carried and b.raw(32) != blake2b(carried):
        raise Fault("what it carries has another hash than it says")
    if b.u8() != 0:
        raise Fault("changes in a form that this program does not know")
    return Record(log, number, key, stamp, previous, time, flags, card, device_name, predecessor, heads, places, b.rest(),
                  blake2b(body), signed, signature, r.at)


def read_logs(store: Store, keys: Keys, volume: Volume) -> list[Record]:
    """All records in the common order, each verified: its signature, its chain, its stamp, and what it quotes."""
    records: dict[tuple[bytes, int], Record] = {}
    for key in store.keys("log"):
        parts = key.split("/")
        number, _, tag = parts[-1].partition("-")
        if len(parts) != 3 or not in_hex(parts[1], 32) or not number.isdecimal() or not in_hex(tag, 16):
            continue
        log = bytes.fromhex(parts[1])
        try:
            record = read_record(store, keys, key, log, int(number))
        except NoKey as fault:
            if (log, int(number)) in volume.marks:
                continue  # the checkpoint includes it
            raise Fault(f"{key}: {fault}") from None
        except Fault as fault:
            raise Fault(f"{key}: {fault}") from None
        other = records.setdefault((log, record.number), record)
        if other.hash != record.hash:
            raise Fault(f"{key}: there is another {record.where()}")

    for record in records.values():
        mark = (record.hash, record.stamp)
        if volume.marks.setdefault((record.log, record.number), mark) != mark:
            raise Fault(f"{record.key}: not the record that the checkpoint includes")
    for record in sorted(records.values(), key=lambda record: record.number):
        try:
            verify_record(keys, volume, record)
        except Fault as fault:
            raise Fault(f"{record.key}: {fault}") from None
    return sorted(records.values(), key=lambda record: (record.stamp, record.log))


def is_checkpoint_behind(included: set[tuple[bytes, int]], records: list[Record]) -> bool:
    """Whether a record that the checkpoint lacks was made by somebody who did not know all that it includes."""
    needed: dict[bytes, int] = {}
    for record in records:
        if (record.log, record.number) in included and record.changes != NO_CHANGES:
            needed[record.log] = max(needed.get(record.log, 0), record.number)
    known: dict[tuple[bytes, int], dict[bytes, int]] = {}
    for record in records:
        quoted = [(log, number) for log, number, _ in record.heads + [record.predecessor]]
        knows: dict[bytes, int] = {}
        for log, number in quoted + [(record.log, record.number - 1)]:
            for other, newest in [*known.get((log, number), {}).items(), (log, number)]:
                knows[other] = max(knows.get(other, 0), newest)
        known[record.log, record.number] = knows
        if (record.log, record.number) not in included and record.changes != NO_CHANGES:
            if any(knows.get(log, 0) < number for log, number in needed.items()):
                return True
    return False


def verify_record(keys: Keys, volume: Volume, record: Record) -> None:
    quoted = list(record.heads)
    if record.flags & OPENING:
        if record.number != 1:
            raise Fault("a log that opens twice")
        device, public_key = certificate(record.certificate, keys)
        log = volume.logs.setdefault(record.log, Log(device, public_key, record.device_name))
        if (log.device, log.public_key) != (device, public_key):
            raise Fault("the log is another device's")
        if record.predecessor != (NONE16, 0, NONE32):
            quoted.append(record.predecessor)
    if record.log not in volume.logs:
        raise Fault("its log has no first record")
    log = volume.logs[record.log]
    digest = blake2b(b"coffer record\0" + keys.volume + record.log + struct.pack("<Q", record.number) + record.signed)
    verify_signature(log.public_key, digest, record.signature, "the record")
    if record.number > 1:
        quoted.append((record.log, record.number - 1, record.previous))
    stamp = 0
    for other, number, wanted in quoted:
        known = volume.marks.get((other, number))
        if not known:
            raise Fault(f"record {number} of log {other.hex()}, which it quotes, is missing")
        if known[0] != wanted:
            raise Fault(f"record {number} of log {other.hex()} is not the one that it quotes")
        stamp = max(stamp, known[1])
    if record.stamp != stamp + 1:
        raise Fault(f"has the stamp {record.stamp} instead of {stamp + 1}")
    if record.number > log.newest:
        log.newest, log.newest_time = record.number, record.time
