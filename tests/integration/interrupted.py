#!/usr/bin/env python3
"""Runs a command on a terminal of its own, types Ctrl-C as soon as a progress bar shows, and ends with its exit code.

usage: interrupted.py COMMAND..."""
import os
import pty
import sys

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
said, typed = b"", False
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:  # Linux says EIO when the other side has closed
        piece = b""
    if not piece:
        break
    said += piece
    if b"\r[" in said and not typed:
        os.write(terminal, b"\x03")
        typed = True
print(said.decode(errors="replace"))
if not typed:
    sys.exit("no progress bar was shown")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
