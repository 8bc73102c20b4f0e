#!/usr/bin/env python3
"""Prints one line for everything below DIR: type, mode, size, mtime, contents' hash or link's target, and path."""
import hashlib
import os
import stat
import sys

top = sys.argv[1]
for folder, folders, files in os.walk(top):
    folders.sort()
    for name in sorted(files + [d for d in folders if os.path.islink(os.path.join(folder, d))]) + ["."]:
        path = os.path.join(folder, name)
        st = os.lstat(path)
        what = ""
        if stat.S_ISLNK(st.st_mode):
            what = os.readlink(path)
        elif stat.S_ISREG(st.st_mode):
            with open(path, "rb") as f:
                what = hashlib.sha256(f.read()).hexdigest()
        size = st.st_size if stat.S_ISREG(st.st_mode) else 0
        print(f"{st.st_mode:o} {size} {st.st_mtime_ns} {what} {os.path.relpath(path, top)}")
