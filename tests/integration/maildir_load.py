#!/usr/bin/env python3
"""Two processes deliver to a maildir, one moves what is new to what was read: no message is lost or doubled.

usage: maildir_load.py DIR MESSAGES"""
import mailbox
import multiprocessing
import os
import sys

path, messages = sys.argv[1], int(sys.argv[2])
mailbox.Maildir(path, create=True)


def deliver(sender):
    box = mailbox.Maildir(path, create=False)
    for number in range(messages):
        box.add(f"From: {sender}\nSubject: {sender}-{number}\n\n" + "text\n" * (number % 50))


def read_new(seen):
    box = mailbox.Maildir(path, create=False)
    new = os.path.join(path, "new")
    for key in os.listdir(new):
        with open(os.path.join(new, key)) as f:
            subject = f.read().split("Subject: ")[1].split("\n")[0]
        assert subject not in seen, f"{subject} twice"
        seen.add(subject)
        os.rename(os.path.join(new, key), os.path.join(path, "cur", key + ":2,S"))
    return box


seen = set()
senders = [multiprocessing.Process(target=deliver, args=(name,)) for name in ("one", "two")]
for p in senders:
    p.start()
while any(p.is_alive() for p in senders):
    read_new(seen)
box = read_new(seen)
assert all(p.exitcode == 0 for p in senders), "a delivery failed"
assert seen == {f"{s}-{n}" for s in ("one", "two") for n in range(messages)}, "messages are missing"
assert not os.listdir(os.path.join(path, "tmp")), "something is left in tmp"
assert len(box) == 2 * messages and all(m.get_flags() == "S" for m in box), "the mailbox does not agree"
