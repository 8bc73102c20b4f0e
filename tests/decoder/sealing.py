"""Keys, seals and signatures: coffer-format(5), CRYPTOGRAPHY."""
import hashlib
import struct
from dataclasses import dataclass

import nacl.bindings
import nacl.exceptions

from codec import Fault, Reader


FRAME, PACK_INDEX, RECORD, SEGMENT, CHECKPOINT, SLOT = 1, 2, 3, 4, 5, 7  # kinds of what is sealed
AEAD_OVERHEAD = 40
NONE16, NONE32 = bytes(16), bytes(32)


def blake2b(data: bytes, key: bytes = b"", size: int = 32) -> bytes:
    return hashlib.blake2b(data, key=key, digest_size=size).digest()


def subkey(key: bytes, number: int) -> bytes:
    """crypto_kdf of libsodium, with the context of coffer."""
    return hashlib.blake2b(b"", key=key, digest_size=32, salt=struct.pack("<QQ", number, 0), person=b"coffer__" + bytes(8)).digest()


def unseal(key: bytes, sealed: bytes, kind: int, volume: bytes, epoch: int, object_id: bytes, place: int, extra: bytes = b"") -> bytes:
    associated = struct.pack("<B16sI16sQ", kind, volume, epoch, object_id, place) + extra
    if len(sealed) < AEAD_OVERHEAD:
        raise Fault("shorter than a seal")
    try:
        return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[24:], associated, sealed[:24], key)
    except nacl.exceptions.CryptoError:
        raise Fault("does not open: changed, or not what it is said to be") from None


def verify_signature(public_key: bytes, message: bytes, signature: bytes, what: str) -> None:
    try:
        nacl.bindings.crypto_sign_open(signature + message, public_key)
    except (nacl.exceptions.CryptoError, ValueError):
        raise Fault(f"the signature of {what} does not hold") from None


CERTIFICATE = 116  # bytes


class NoKey(Fault):
    """Sealed under an epoch whose key is not here."""


@dataclass
class Keys:
    volume: bytes
    signing_key: bytes  # the public half
    epochs: dict[int, bytes]

    def key(self, epoch: int, purpose: int) -> bytes:
        if epoch not in self.epochs:
            raise NoKey(f"sealed under epoch {epoch}, whose key is in no slot that opens")
        return subkey(self.epochs[epoch], purpose)

    def unseal(self, kind: int, epoch: int, object_id: bytes, place: int, sealed: bytes, extra: bytes = b"") -> bytes:
        purpose = {FRAME: 1, PACK_INDEX: 1, RECORD: 2, SEGMENT: 3, CHECKPOINT: 3}[kind]
        return unseal(self.key(epoch, purpose), sealed, kind, self.volume, epoch, object_id, place, extra)


def certificate(data: bytes, keys: Keys) -> tuple[bytes, bytes]:
    """The id and the public key of a device that is a member: by its certificate, and those of its vouchers."""
    chain = [data[at : at + CERTIFICATE] for at in range(0, len(data), CERTIFICATE)]
    voucher, signer = b"", keys.signing_key
    for one in chain[1:] + chain[:1]:
        device, public_key, signature = one[:16], one[16:48], one[52:]
        if voucher and device != blake2b(b"coffer device id\0" + public_key)[:16]:
            raise Fault("a device is vouched for under an id that is not its own")
        text = b"coffer device voucher\0" if voucher else b"coffer device certificate\0"
        verify_signature(signer, text + keys.volume + voucher + one[:52], signature, "a device's certificate")
        voucher, signer = device, public_key
    return device, public_key


def read_certificate(r: Reader, vouched_for: bool) -> bytes:
    """A certificate, and after it those of its vouchers."""
    own = r.raw(CERTIFICATE)
    return own + r.raw(CERTIFICATE * r.u8()) if vouched_for else own
