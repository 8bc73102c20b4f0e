"""Bytes whose layout is known: coffer-format(5), Conventions."""
import struct

import zstandard


class Fault(Exception):
    """Something in the store is not what it has to be."""


class Reader:
    """A cursor over bytes whose layout is known; whatever does not fit is a Fault."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def raw(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise Fault("shorter than it says")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, layout: str) -> int:
        return struct.unpack("<" + layout, self.raw(struct.calcsize("<" + layout)))[0]

    def u8(self) -> int:
        return self.number("B")

    def u16(self) -> int:
        return self.number("H")

    def u32(self) -> int:
        return self.number("I")

    def u64(self) -> int:
        return self.number("Q")

    def i64(self) -> int:
        return self.number("q")

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                break
            shift += 7
        if value >= 1 << 64 or (byte == 0 and shift > 0):
            raise Fault("a number that is too large, or not in its shortest form")
        return value

    def svarint(self) -> int:
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def string(self) -> bytes:
        return self.raw(self.varint())

    def rest(self) -> bytes:
        return self.raw(len(self.data) - self.at)

    def version(self, value: int, known: int, what: str) -> None:
        if value != known:
            raise Fault(f"{what} of version {value}; this program knows version {known}")

    def end(self) -> None:
        if self.at != len(self.data):
            raise Fault("longer than it says")

    def zeros(self) -> None:
        if self.rest().strip(b"\0"):
            raise Fault("padding that is not zero")


def signed64(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def unzstd(data: bytes, length: int) -> bytes:
    try:
        plain = zstandard.ZstdDecompressor().decompress(data, max_output_size=length)
    except zstandard.ZstdError as error:
        raise Fault(f"zstd: {error}") from None
    if len(plain) != length:
        raise Fault("decompresses to another length than it says")
    return plain


def padded_size(size: int) -> int:
    """Of an object that holds so many bytes: coffer-format(5), Padding."""
    exponent = size.bit_length() - 1
    step = 1 << max(0, exponent - exponent.bit_length())
    return max(4096, -(-size // step) * step)
