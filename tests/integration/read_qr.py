#!/usr/bin/env python3
"""Reads the first QR code in what a terminal showed, by libzbar: read_qr.py FILE. Exits 77 without the library."""
import ctypes
import ctypes.util
import sys

SCALE, MARGIN = 4, 16


def main():
    name = ctypes.util.find_library("zbar")
    if not name:
        sys.exit(77)
    with open(sys.argv[1], encoding="utf-8", errors="replace") as f:
        text = f.read()
    rows = []
    for line in text.split("\x1b[30;47m")[1:]:
        if "\x1b[0m" not in line:
            continue
        cells = line.split("\x1b[0m")[0]
        rows.append([c in "\u2580\u2588" for c in cells])
        rows.append([c in "\u2584\u2588" for c in cells])
        if len(rows) > len(cells):
            break
    size = len(rows[0])
    side = size * SCALE + 2 * MARGIN
    pixels = bytearray(b"\xff" * side * side)
    for y in range(size):
        for x in range(size):
            if y < len(rows) and rows[y][x]:
                for dy in range(SCALE):
                    at = (MARGIN + y * SCALE + dy) * side + MARGIN + x * SCALE
                    pixels[at:at + SCALE] = b"\0" * SCALE
    zbar = ctypes.CDLL(name)
    for function in ("zbar_image_scanner_create", "zbar_image_create", "zbar_image_first_symbol"):
        getattr(zbar, function).restype = ctypes.c_void_p
    zbar.zbar_symbol_get_data.restype = ctypes.c_char_p
    scanner, image = ctypes.c_void_p(zbar.zbar_image_scanner_create()), ctypes.c_void_p(zbar.zbar_image_create())
    zbar.zbar_image_set_format(image, ctypes.c_ulong(int.from_bytes(b"Y800", "little")))
    zbar.zbar_image_set_size(image, side, side)
    data = ctypes.create_string_buffer(bytes(pixels), len(pixels))
    zbar.zbar_image_set_data(image, data, ctypes.c_ulong(len(pixels)), None)
    if zbar.zbar_scan_image(scanner, image) < 1:
        sys.exit("no QR code is found")
    print(zbar.zbar_symbol_get_data(ctypes.c_void_p(zbar.zbar_image_first_symbol(image))).decode())


main()
