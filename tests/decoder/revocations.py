"""Which records are void, since their devices were revoked: coffer-format(5), KEY SLOTS, Revocations."""
from dataclasses import dataclass, field

from codec import Fault, Reader
from records import Record
from sealing import CERTIFICATE, Keys, verify_signature
from state import Volume
from store import Store

REVOKED = ".revoked"


@dataclass
class Limits:
    accepted: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)  # by log: the last that counts
    kept: set[bytes] = field(default_factory=set)


def read_revocations(store: Store, keys: Keys) -> dict[bytes, Limits]:
    """By device."""
    revoked: dict[bytes, Limits] = {}
    for key in store.keys("slot"):
        if not key.endswith(REVOKED):
            continue
        data = store.get(key)
        r = Reader(data)
        if r.raw(8) != b"coffrevo":
            raise Fault(f"{key}: not a revocation")
        r.version(r.u16(), 1, "a revocation")
        if r.raw(16).hex() + REVOKED != key.removeprefix("slot/"):
            raise Fault(f"{key}: has the id of another revocation")
        limits = revoked.setdefault(r.raw(16), Limits())
        r.i64()
        for _ in range(r.varint()):
            log, number, wanted = r.raw(16), r.u64(), r.raw(32)
            limits.accepted[log] = max(limits.accepted.get(log, (0, b"")), (number, wanted))
        for _ in range(r.varint()):
            limits.kept.add(r.raw(16))
        verify_signature(keys.signing_key, b"coffer revocation\0" + keys.volume + data[:-64], r.raw(64), key)
        r.end()
    return revoked


def vouchers_of(records: list[Record]) -> dict[bytes, list[bytes]]:
    """By log, the devices by whose word its author is a member."""
    return {record.log: [record.certificate[at : at + 16] for at in range(CERTIFICATE, len(record.certificate), CERTIFICATE)]
            for record in records if record.number == 1}


def is_void(revoked: dict[bytes, Limits], vouchers: dict[bytes, list[bytes]], volume: Volume, record: Record) -> bool:
    device = volume.logs[record.log].device
    if any(voucher in revoked and device not in revoked[voucher].kept for voucher in vouchers[record.log]):
        return True
    limits = revoked.get(device)
    if not limits:
        return False
    number, wanted = limits.accepted.get(record.log, (0, b""))
    return record.number > number or (record.number == number and record.hash != wanted)
