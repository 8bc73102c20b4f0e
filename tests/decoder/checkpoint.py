"""The state after some records, read instead of replayed: coffer-format(5), CHECKPOINTS."""
import struct

from changes import DIRECTORY, FILE, SYMLINK, checked_name
from codec import Fault, Reader, signed64, unzstd
from contents import Frame, Packs, Piece, Place
from sealing import AEAD_OVERHEAD, CHECKPOINT, SEGMENT, Keys, blake2b, certificate, read_certificate, verify_signature
from state import Inode, Log, Volume
from store import Store, object_key


def open_root(keys: Keys, root_id: bytes, data: bytes) -> tuple[bytes, int]:
    """Its body, and how much of the object is no padding."""
    r = Reader(keys.unseal(CHECKPOINT, Reader(data).u32(), root_id, 0, data[4:]))
    body = r.raw(r.u32())
    r.zeros()
    return body, 4 + AEAD_OVERHEAD + 4 + len(body)


def open_segment(keys: Keys, segment_id: bytes, data: bytes) -> tuple[bytes, int]:
    """Its plain content, and how much of the object is no padding."""
    r = Reader(keys.unseal(SEGMENT, Reader(data).u32(), segment_id, 0, data[4:]))
    r.version(r.u8(), 1, "a segment")
    method, plain_length, stored_length = r.u8(), r.u32(), r.u32()
    stored = r.raw(stored_length)
    used = 4 + AEAD_OVERHEAD + r.at
    r.zeros()
    if method > 1:
        raise Fault(f"a segment compressed by method {method}, which this program does not know")
    return (unzstd(stored, plain_length) if method else stored), used


def read_checkpoint(store: Store, keys: Keys, packs: Packs, root_id: bytes) -> Volume:
    """All segments are verified against the signed root, and read into a state."""
    body, _ = open_root(keys, root_id, store.get(object_key(root_id)))
    signed, signature = body[:-64], body[-64:]
    r = Reader(signed)
    if (version := r.u16()) != 1:
        r.version(version, 2, "a checkpoint")
    _stamp, records, _time, card, rows = r.u64(), r.u64(), r.i64(), read_certificate(r, version == 2), r.u64()
    _device, public_key = certificate(card, keys)
    digest = blake2b(b"coffer checkpoint\0" + keys.volume + root_id + signed)
    verify_signature(public_key, digest, signature, "the checkpoint")
    segments = [(r.raw(16), r.raw(32), r.raw(32), r.varint(), r.varint(), r.varint(), r.string()) for _ in range(r.varint())]
    r.end()

    table: dict[bytes, bytes] = {}
    last = b""
    for segment_id, sealed_hash, plain_hash, size, plain_size, count, first in segments:
        content = read_segment(store, keys, segment_id, sealed_hash, size)
        if blake2b(content) != plain_hash or len(content) != plain_size:
            raise Fault(f"segment {segment_id.hex()} is not the one that the checkpoint lists")
        s = Reader(content)
        before = len(table)
        while s.at < len(content):
            key, value = s.string(), s.string()
            if len(table) == before and key != first or key <= last:
                raise Fault(f"the rows of segment {segment_id.hex()} are not in order")
            table[key] = value
            last = key
        if len(table) - before != count:
            raise Fault(f"segment {segment_id.hex()} has another number of rows than the checkpoint says")
    if len(table) != rows:
        raise Fault("the checkpoint has another number of rows than it says")
    volume = state_of_rows(table, packs)
    if len(volume.marks) != records:
        raise Fault("the checkpoint includes another number of records than it says")
    return volume


def read_segment(store: Store, keys: Keys, segment_id: bytes, sealed_hash: bytes, size: int) -> bytes:
    data = store.get(object_key(segment_id))
    if len(data) != size or blake2b(data) != sealed_hash:
        raise Fault(f"segment {segment_id.hex()} is not the one that the checkpoint lists")
    return open_segment(keys, segment_id, data)[0]


def extents(r: Reader, count: int) -> list[Piece]:
    pieces = []
    at, frame = 0, None
    for _ in range(count):
        piece_at, length, flags = at + r.varint(), r.varint(), r.u8()
        at = piece_at + length
        skip, plain_length = 0, length
        if not flags & 1:
            skip = r.varint()
            if not flags & 8:
                plain_length = r.varint()
        if not flags & 8:
            pack = frame.pack if flags & 2 and frame else r.raw(16)
            offset = frame.at + frame.sealed_length if flags & 4 and frame else r.varint()
            frame = Frame(pack, offset, r.varint(), r.raw(32), plain_length)
        if not frame:
            raise Fault("an extent of the same frame as none")
        pieces.append(Piece(piece_at, length, frame, skip))
    return pieces


def inode_row(r: Reader) -> Inode:
    r.version(r.u8(), 1, "an inode")
    inode, has = Inode(r.u8()), r.u8()
    inode.mode, inode.uid, inode.gid, _nlink = r.varint(), r.varint(), r.varint(), r.varint()
    inode.mtime = r.i64()
    inode.ctime, inode.atime, inode.btime = (signed64(inode.mtime + r.svarint()) for _ in range(3))
    _home, _cookie = r.u64(), r.varint()
    if has & 16:
        inode.rdev = r.varint()
    if inode.type == FILE:
        inode.size, inode.version = r.varint(), r.u64()
        if has & 32:
            inode.origin = r.u64()
        if has & 2:
            inode.pieces = extents(r, 1)
        if has & 4:
            for _ in range(r.varint()):
                r.varint(), r.varint()
    elif inode.type == DIRECTORY:
        r.varint()
    elif inode.type == SYMLINK:
        inode.target = r.string()
    r.end()
    return inode


def state_of_rows(table: dict[bytes, bytes], packs: Packs) -> Volume:
    volume = Volume()
    rest = []
    for key, value in table.items():
        r = Reader(value)
        if key[:1] == b"I":
            volume.inodes[struct.unpack(">Q", key[1:])[0]] = inode_row(r)
        elif key[:1] == b"P":
            packs.add(key[1:], Place(r.string().decode(), signed64(r.varint()), 0, r.varint()))
            r.end()
        elif key[:2] == b"Sr":
            r.version(r.u8(), 1, "a record's mark")
            log, number = struct.unpack(">16sQ", key[2:])
            volume.marks[log, number] = (r.raw(32), r.u64())
            r.end()
        elif key[:2] == b"St":
            if (version := r.u8()) not in (1, 2):
                r.version(version, 3, "a log")
            number, _hash, _stamp, _first = r.u64(), r.raw(32), r.u64(), r.u64()
            volume.logs[key[2:]] = Log(r.raw(16), r.raw(32), r.string(), number, r.i64())
        elif key[:1] in b"CEX":
            rest.append((key, r))
        elif key[:1] not in b"BL":
            raise Fault(f"a row of unknown kind {key[:1]!r}")
    for key, r in rest:
        inode = volume.inodes[struct.unpack(">Q", key[1:9])[0]]
        r.version(r.u8(), 1, "a row")
        if key[:1] == b"C":
            inode.pieces += extents(r, r.varint())
        elif key[:1] == b"E":
            _type, child = r.u8(), r.u64()
            inode.entries[checked_name(r.string())] = child
        else:
            inode.xattrs = {r.string(): r.string() for _ in range(r.varint())}
        r.end()
    return volume
