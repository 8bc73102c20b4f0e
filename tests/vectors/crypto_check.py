#!/usr/bin/env python3
"""Checks tests/vectors/crypto.txt against the format as written down, without coffer's code or its libraries.

Everything is plain Python, but for Argon2id, for which libsodium is loaded if it is there (else that slot is skipped).
With --make, prints the lines that can be computed rather than checked.
"""
import ctypes
import ctypes.util
import hashlib
import os
import struct
import sys

P = 2**255 - 19


def blake2b(data, key=b"", size=32, salt=b"", person=b""):
    return hashlib.blake2b(data, digest_size=size, key=key, salt=salt, person=person).digest()


def derive(key, number):
    return blake2b(b"", key=key, salt=struct.pack("<Q", number).ljust(16, b"\0"), person=b"coffer__".ljust(16, b"\0"))


# X25519, RFC 7748.


def x25519(scalar, u):
    k = bytearray(scalar)
    k[0] &= 248
    k[31] = k[31] & 127 | 64
    k = int.from_bytes(k, "little")
    x1 = int.from_bytes(u, "little") & (2**255 - 1)
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a, b * b, d * a, c * b
        e = aa - bb
        x3, z3 = pow(da + cb, 2, P), x1 * pow(da - cb, 2, P) % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


# Ed25519, RFC 8032; affine points, slow and short.

L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def add(p, q):
    t = D * p[0] * q[0] * p[1] * q[1] % P
    x = (p[0] * q[1] + q[0] * p[1]) * pow(1 + t, P - 2, P) % P
    y = (p[1] * q[1] + p[0] * q[0]) * pow(1 - t, P - 2, P) % P
    return x, y


def multiply(p, n):
    r = (0, 1)
    while n:
        if n & 1:
            r = add(r, p)
        p = add(p, p)
        n >>= 1
    return r


def compress(p):
    return (p[1] | (p[0] & 1) << 255).to_bytes(32, "little")


def decompress(b):
    y = int.from_bytes(b, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - square) % P == 0, "not a point"
    return (x if x & 1 == sign else P - x), y


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def sha512_number(b):
    return int.from_bytes(hashlib.sha512(b).digest(), "little")


def ed25519_scalar(seed):
    h = hashlib.sha512(seed).digest()
    return int.from_bytes(h[:32], "little") & (2**254 - 8) | 2**254, h[32:]


def ed25519_public(seed):
    return compress(multiply(BASE, ed25519_scalar(seed)[0]))


def ed25519_sign(seed, message):
    a, prefix = ed25519_scalar(seed)
    public = compress(multiply(BASE, a))
    r = sha512_number(prefix + message) % L
    point = compress(multiply(BASE, r))
    s = (r + sha512_number(point + public + message) * a) % L
    return point + s.to_bytes(32, "little")


def ed25519_verify(public, message, signature):
    s = int.from_bytes(signature[32:], "little")
    k = sha512_number(signature[:32] + public + message) % L
    return multiply(BASE, s) == add(decompress(signature[:32]), multiply(decompress(public), k))


# XChaCha20-Poly1305, RFC 8439 and draft-irtf-cfrg-xchacha.


def chacha_rounds(key, nonce16):
    s = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce16))

    def quarter(a, b, c, d):
        for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = s[x] + s[y] & 0xFFFFFFFF
            s[z] ^= s[x]
            s[z] = (s[z] << n | s[z] >> 32 - n) & 0xFFFFFFFF

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return s


def chacha_block(key, counter, nonce):
    start = struct.unpack("<16I", b"expand 32-byte k" + key + struct.pack("<I", counter) + nonce)
    words = chacha_rounds(key, struct.pack("<I", counter) + nonce)
    return struct.pack("<16I", *(a + b & 0xFFFFFFFF for a, b in zip(words, start)))


def poly1305(key, data):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for i in range(0, len(data), 16):
        total = (total + int.from_bytes(data[i:i + 16] + b"\1", "little")) * r % (2**130 - 5)
    return (total + int.from_bytes(key[16:], "little") & 2**128 - 1).to_bytes(16, "little")


def open_sealed(key, ad, sealed):
    nonce, body, tag = sealed[:24], sealed[24:-16], sealed[-16:]
    words = chacha_rounds(key, nonce[:16])
    sub = struct.pack("<8I", *words[:4], *words[12:])
    short = b"\0" * 4 + nonce[16:]

    def padded(b):
        return b + b"\0" * (-len(b) % 16)

    mac = poly1305(chacha_block(sub, 0, short)[:32], padded(ad) + padded(body) + struct.pack("<QQ", len(ad), len(body)))
    assert mac == tag, "sealed data does not authenticate"
    stream = b"".join(chacha_block(sub, 1 + i, short) for i in range((len(body) + 63) // 64))
    return bytes(a ^ b for a, b in zip(body, stream))


def argon2id(passphrase, salt, memory_kib, passes, size):
    name = ctypes.util.find_library("sodium")
    if not name:
        return None
    sodium = ctypes.CDLL(name)
    sodium.sodium_init()
    out = ctypes.create_string_buffer(size)
    rc = sodium.crypto_pwhash(out, ctypes.c_ulonglong(size), passphrase, ctypes.c_ulonglong(len(passphrase)), salt,
                              ctypes.c_ulonglong(passes), ctypes.c_size_t(memory_kib * 1024), 2)
    assert rc == 0
    return out.raw


# coffer's own.


def associated_data(kind, volume, epoch, object16, place, extra=b""):
    return bytes([kind]) + volume + struct.pack("<I", epoch) + object16 + struct.pack("<Q", place) + extra


def certificate(seed, volume, device, key, epoch):
    fields = device + key + struct.pack("<I", epoch)
    return fields + ed25519_sign(seed, b"coffer device certificate\0" + volume + fields)


def voucher(seed, volume, by, key, epoch):
    fields = blake2b(b"coffer device id\0" + key)[:16] + key + struct.pack("<I", epoch)
    return fields + ed25519_sign(seed, b"coffer device voucher\0" + volume + by + fields)


def grouped(bits):
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

    def times(a, b):
        product = 0
        for i in range(5):
            if b >> i & 1:
                product ^= a << i
        for i in reversed(range(5, 10)):
            if product >> i & 1:
                product ^= 0x25 << i - 5
        return product

    count = -(-len(bits) * 8 // 20)
    number = int.from_bytes(bits, "big") << 20 * count - 8 * len(bits)
    values = [number >> 5 * (4 * count - 1 - i) & 31 for i in range(4 * count)]
    groups = []
    for g in range(count):
        d = values[4 * g:4 * g + 4]
        check = (g + 1) ^ times(2, d[0]) ^ times(4, d[1]) ^ times(8, d[2]) ^ times(16, d[3])
        groups.append("".join(alphabet[v] for v in d + [check]))
    return "-".join(groups)


def open_slot(slot, kind, derived, its_version=1):
    header, sealed = slot[:179], slot[179:-300] if its_version == 2 else slot[179:]
    magic, version, its_kind, _, _, salt, number = struct.unpack_from("<8sHBII16s16s", header)
    public, binding, ephemeral, commitment = (header[i:i + 32] for i in (51, 83, 115, 147))
    assert (magic, version, its_kind) == (b"coffslot", its_version, kind)
    private = hashlib.sha512(derived[:32]).digest()[:32]
    assert x25519(private, (9).to_bytes(32, "little")) == public, "another key's slot"
    wrapping = blake2b(ephemeral + public + number, key=x25519(private, ephemeral))
    assert blake2b(b"coffer slot commitment", key=wrapping) == commitment
    plain = open_sealed(wrapping, associated_data(7, bytes(16), 0, number, 0, header), sealed)
    assert len(plain) % 512 == 0

    volume, signing_public, has = plain[:16], plain[16:48], plain[48]
    assert has == (0 if kind == 3 else 1)
    at = 114 if has else 50
    signing_secret, count = plain[49:at - 1], plain[at - 1]
    assert count < 128  # one byte of varint
    keys = {}
    for _ in range(count):
        keys[struct.unpack_from("<I", plain, at)[0]] = plain[at + 4:at + 36]
        at += 36
    signature, padding = plain[at:at + 64], plain[at + 64:]
    assert len(padding) < 512 and not any(padding)
    if has:
        assert ed25519_public(signing_secret[:32]) == signing_secret[32:] == signing_public
    assert ed25519_verify(signing_public, b"coffer slot contents\0" + header + plain[:at], signature)
    if kind == 3:  # the key pair is the device's Ed25519 pair in its other form, so its seed is the slot's
        y = int.from_bytes(ed25519_public(derived), "little") & (2**255 - 1)
        assert ((1 + y) * pow(1 - y, P - 2, P) % P).to_bytes(32, "little") == public
        assert not any(binding) and not any(salt)
    else:
        assert blake2b(b"coffer slot binding" + volume + signing_public, key=derived[32:]) == binding
    return volume, signing_secret, keys


def read_statement(slot, volume, signing_public, keys):
    statement = slot[-300:]
    assert ed25519_verify(signing_public, b"coffer slot\0" + volume + slot[:-64], slot[-64:])
    epoch = struct.unpack_from("<I", statement)[0]
    data = associated_data(8, volume, epoch, slot[35:51], 0)
    note = open_sealed(derive(keys[epoch], 5), data, statement[4:-64])
    assert len(note) == 192
    label, rest = note[1:1 + note[0]], note[1 + note[0]:]
    made, device, zeros = struct.unpack_from("<q", rest)[0], rest[9:9 + rest[8]], rest[9 + rest[8]:]
    assert not any(zeros)
    return label, made, device


def pairing_request(volume, number, private, seed, made):
    public = x25519(private, (9).to_bytes(32, "little"))
    return b"coffpair\1\0" + number + volume + public + ed25519_public(seed) + struct.pack("<q", made)


def pairing_code(request, secret):
    return grouped(blake2b(b"coffer pairing request\0" + request)[:10] + secret)


def open_pairing_answer(answer, request, private, secret):
    header, ephemeral, commitment = answer[:90], answer[26:58], answer[58:90]
    assert header[:26] == b"coffpans\1\0" + request[10:26]
    wrapping = blake2b(b"coffer pairing answer" + secret + blake2b(request) + ephemeral, key=x25519(private, ephemeral))
    assert blake2b(b"coffer pairing commitment", key=wrapping) == commitment
    plain = open_sealed(wrapping, associated_data(9, request[26:42], 0, request[10:26], 0, header), answer[90:])
    size = struct.unpack_from("<I", plain)[0]
    assert not any(plain[4 + size:])
    return plain[4:4 + size]


def main():
    make = "--make" in sys.argv
    vectors = {}
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "crypto.txt")) as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                name, value = line.split()
                vectors[name] = bytes.fromhex(value)

    volume, device, number = bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48))
    volume_key, second_key, seed, salt = b"\x11" * 32, b"\x22" * 32, b"\x33" * 32, b"\x44" * 32
    local = blake2b(salt, key=derive(volume_key, 4))
    private, code_secret = b"\x77" * 32, bytes(range(0x60, 0x6A))
    request = pairing_request(volume, number, private, b"\x55" * 32, 1_700_000_000_123_456_789)
    expected = {
        "ad.frame": associated_data(1, volume, 3, number, 0x0102030405060708),
        "ad.row": associated_data(32, volume, 1, bytes(16), 0, b"row key"),
        "key.frames": derive(volume_key, 1),
        "key.records": derive(volume_key, 2),
        "key.segments": derive(volume_key, 3),
        "key.local.rows": derive(local, 1),
        "key.local.journal": derive(local, 2),
        "key.local.secrets": derive(local, 3),
        "prf.local.row_keys": blake2b(b"a name", key=derive(local, 4), size=16),
        "signing.public": ed25519_public(seed),
        "certificate": certificate(seed, volume, device, ed25519_public(b"\x55" * 32), 2),
        "voucher": voucher(b"\x55" * 32, volume, device, ed25519_public(b"\x66" * 32), 2),
        "recovery.text": grouped(bytes(range(0, 256, 8))).encode(),
        "recovery.text.ones": grouped(b"\xff" * 32).encode(),
        "pairing.request": request,
        "pairing.code": pairing_code(request, code_secret).encode(),
    }
    if make:
        for name, value in expected.items():
            print(name, value.hex())
        return
    for name, value in expected.items():
        assert vectors[name] == value, name

    secrets = (volume, seed + ed25519_public(seed), {1: volume_key, 2: second_key})
    slot = vectors["slot.recovery"]
    derived = blake2b(b"coffer recovery slot" + slot[19:35], key=bytes(range(0, 256, 8)), size=64)
    assert open_slot(slot, 2, derived) == secrets
    slot = vectors["slot.passphrase"]
    memory, passes = struct.unpack_from("<II", slot, 11)
    derived = argon2id(b"correct horse battery staple", slot[19:35], memory, passes, 64)
    if derived is None:
        print("no libsodium: the passphrase slot was not checked")
    else:
        assert open_slot(slot, 1, derived) == secrets

    note = (b"Anna's passphrase", 1_700_000_000_123_456_789, b"laptop")
    slot = vectors["slot2.recovery"]
    derived = blake2b(b"coffer recovery slot" + slot[19:35], key=bytes(range(0, 256, 8)), size=64)
    assert open_slot(slot, 2, derived, 2) == secrets
    assert read_statement(slot, volume, ed25519_public(seed), secrets[2]) == note
    slot = vectors["slot2.passphrase"]
    assert read_statement(slot, volume, ed25519_public(seed), secrets[2]) == note
    slot = vectors["slot2.device"]
    assert open_slot(slot, 3, bytes([0x44]) * 32, 2) == (volume, b"", secrets[2])
    assert read_statement(slot, volume, ed25519_public(seed), secrets[2]) == note
    epochs = b"".join(struct.pack("<I", epoch) + key for epoch, key in secrets[2].items())
    assert vectors["kept_key"] == b"coffer-key-1:" + (volume + ed25519_public(seed) + b"\2" + epochs).hex().encode()
    answer = open_pairing_answer(vectors["pairing.answer"], request, private, code_secret)
    assert answer == b"what a member hands over"
    removed = b"coffer slot removal\0" + volume + number
    assert vectors["slot.removal"] == b"coffgone\1\0" + number + ed25519_sign(seed, removed)
    print("all vectors agree")


main()
