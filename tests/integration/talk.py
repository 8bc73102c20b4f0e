#!/usr/bin/env python3
"""Plays a person at a terminal: talk.py SCRIPT COMMAND..., with what the terminal showed in $TALK_LOG.

SCRIPT has lines `expect TEXT` and `type TEXT`, `type {group}` (the group of the recovery key that was asked for last),
`type {wrong}`, `interrupt`. Exits as the command does; 99 when the terminal does not show what is expected."""
import os
import pty
import re
import select
import signal
import sys
import time

KEY = re.compile(rb"((?:[0-9A-Z]{5}-){6}[0-9A-Z]{5})\r?\n((?:[0-9A-Z]{5}-){5}[0-9A-Z]{5})")


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        steps = [line.rstrip("\n").partition(" ")[::2] for line in f if line.strip()]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(sys.argv[2], sys.argv[2:])
    shown, seen = b"", 0

    def more(wait):
        nonlocal shown
        if not select.select([terminal], [], [], wait)[0]:
            return True
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            piece = b""
        shown += piece
        return piece != b""

    status = None
    for what, text in steps:
        if what == "expect":
            wanted, end = text.encode(), time.monotonic() + 60
            while wanted not in shown[seen:]:
                if time.monotonic() > end or not more(1):
                    sys.stderr.write(f"'{text}' was not shown, but:\n{shown[seen:].decode(errors='replace')}\n")
                    os.kill(pid, signal.SIGKILL)
                    sys.exit(99)
            seen += shown[seen:].index(wanted) + len(wanted)
        elif what == "interrupt":
            os.write(terminal, b"\x03")
        else:
            if text in ("{group}", "{wrong}"):
                groups = b"-".join(KEY.findall(shown)[-1]).split(b"-")
                group = groups[int(re.findall(rb"Group (\d+) of", shown)[-1]) - 1].decode()
                text = group.lower() if text == "{group}" else group[1:] + group[0]
            os.write(terminal, text.encode() + b"\n")
    while more(None):
        pass
    _, status = os.waitpid(pid, 0)
    with open(os.environ["TALK_LOG"], "wb") as log:
        log.write(shown)
    sys.exit(os.waitstatus_to_exitcode(status))


main()
