#!/usr/bin/env python3
"""Holds the rule of layers by #include lines: no layer includes a later one, and each library has one home.

usage: check_layers.py CHECKOUT"""
import os
import re
import sys

# Lowest first, as in CMakeLists.txt.
LAYERS = ["base", "crypto", "remote", "cache", "fs/model", "fs/replica", "fs/sync", "fs/check", "fs/fuse", "fs/cli"]
# Which headers belong to which layer alone.
HOMES = [
    (r"sodium", "crypto"),
    (r"curl/|expat", "remote"),
    (r"lmdb|zstd|zdict", "cache"),
    (r"fuse", "fs/fuse"),
    (r"CLI/|toml\+\+|nlohmann/|keyutils|qrencode|zxcvbn", "fs/cli"),
]
# A layer that may use less than all that is below it: remote only ever sees sealed bytes, and links digests only.
FORBIDDEN = [("remote", r'"crypto/(?!hash\.h")')]


def layer_of(path):
    return next((layer for layer in LAYERS if path.startswith(layer + "/")), None)


def faults_of(path, text):
    layer = layer_of(path)
    for number, line in enumerate(text.splitlines(), 1):
        include = re.match(r'\s*#\s*include\s*([<"][^>"]+[>"])', line)
        if not include:
            continue
        name = include.group(1)
        target = layer_of(name[1:]) if name[0] == '"' else None
        where = f"{path}:{number}: {name}"
        if target and LAYERS.index(target) > LAYERS.index(layer):
            yield f"{where}: {layer} may not use {target}, which is above it"
        if name.startswith('"tests/'):
            yield f"{where}: the program may not use the tests"
        for pattern, home in HOMES:
            if name[0] == "<" and re.match(pattern, name[1:]) and layer != home:
                yield f"{where}: belongs to {home} alone"
        for limited, pattern in FORBIDDEN:
            if layer == limited and re.match(pattern, name):
                yield f"{where}: not for {limited}"


def main(root):
    faults, files = [], 0
    for layer in LAYERS:
        for folder, _, names in os.walk(os.path.join(root, layer)):
            for name in sorted(names):
                if name.endswith((".h", ".cc", ".in")):
                    path = os.path.join(folder, name)
                    files += 1
                    with open(path, encoding="utf-8") as f:
                        faults += faults_of(os.path.relpath(path, root), f.read())
    print("\n".join(faults) if faults else f"{files} files keep to their layers")
    return 1 if faults or files == 0 else 0


sys.exit(main(sys.argv[1]))
