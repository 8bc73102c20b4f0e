"""What records add up to, applied one after the other in their common order: coffer-format(5), WHAT RECORDS ADD UP TO.

What was removed, and former versions of files, stay in memory to the end, since a later record may name them."""
import copy
import struct
from dataclasses import dataclass, replace, field
from datetime import datetime, timezone
from itertools import groupby

from changes import CHANGED, DIRECTORY, FILE, MADE, REMOVED, Content, EntryChange, InodeChange, Move
from contents import Piece, joined, with_pieces
from records import Record
from sealing import blake2b
from state import ROOT, Inode, Volume

NAME_MAX, DEVICE_MAX, EXTENSION_MAX = 255, 64, 32
LINKS_MAX, XATTRS_MAX = 65_000, 256 << 10
Place = tuple[int, bytes]  # a directory and a name in it


@dataclass
class Version:
    pieces: list[Piece]
    size: int


@dataclass
class Remains:
    """What changes leave for those who have not seen them."""

    tombs: dict[int, tuple[Inode, Place]] = field(default_factory=dict)
    versions: dict[tuple[int, int], Version | int] = field(default_factory=dict)  # int: it lives on as that inode
    aliases: dict[int, int] = field(default_factory=dict)
    diverted: dict[tuple[int, int, bytes], bytes] = field(default_factory=dict)  # directory, inode, name: the real name

    def alias(self, number: int) -> int:
        while number in self.aliases:
            number = self.aliases[number]
        return number

    def moved_if_new(self, number: int, version: int, target: int) -> None:
        if number != target:
            self.versions.setdefault((number, version), target)

    def follow(self, inodes: dict[int, Inode], number: int, version: int) -> list[int]:
        """The inode that is meant where it is named with this version, at the end of the way to it."""
        way = [self.alias(number)]
        while isinstance(moved := self.versions.get((way[-1], version)), int):
            there = inodes.get(way[-1]) or self.tombs.get(way[-1], (None,))[0]
            if there is not None and there.type == FILE and there.version == version:
                break
            at = self.alias(moved)
            if at in way:
                break
            way.append(at)
        return way


def cut(text: bytes, limit: int) -> bytes:
    """At most so many bytes, and no piece of a UTF-8 sequence at the end."""
    if len(text) <= limit:
        return text
    end = limit
    while end > 0 and limit - end < 4 and text[end] & 0xC0 == 0x80:
        end -= 1
    if end == 0 or text[end] & 0xC0 == 0x80:
        end = limit
    return text[:end]


def companion_suffix(name: bytes) -> bytes:
    """What SQLite adds to the name of a database for what lies beside it."""
    return next((s for s in (b"-wal", b"-journal", b"-shm") if name.endswith(s) and len(name) > len(s)), b"")


def family_of(directory: int, name: bytes) -> Place:
    return directory, name[: len(name) - len(companion_suffix(name))]


def conflict_name(name: bytes, device: bytes, time: int, attempt: int) -> bytes:
    host = bytes(ord("-") if c == ord("/") or c < 32 else c for c in cut(device, DEVICE_MAX)) or b"unknown"
    date = datetime.fromtimestamp(time // 1_000_000_000, timezone.utc).strftime("%Y-%m-%d").encode()
    mark = b" (conflict, " + host + b", " + date + (b", %d" % attempt if attempt > 1 else b"") + b")"
    stem = name[: len(name) - len(companion_suffix(name))]
    dot = stem.rfind(b".")
    if dot > 0 and len(stem) - dot <= EXTENSION_MAX:
        stem = stem[:dot]
    extension = name[len(stem) :]
    return cut(stem, NAME_MAX - len(mark) - len(extension)) + mark + extension


@dataclass
class Step:
    """An entry change on its way."""

    change: EntryChange
    directory: int  # 0: there is no such directory now
    before: int
    name: bytes  # where it applies: the change's own, or the one that it was diverted to
    matched: bool = False


MADE_NOW, REVIVED, DETACHED, COPY = range(4)  # why an inode is loose


class Fold:
    def __init__(self, volume: Volume):
        self.inodes = volume.inodes
        self.logs = volume.logs
        self.remains = Remains()
        self.places: dict[int, set[Place]] = {}
        self.conflicts: list[str] = []
        for number, inode in self.inodes.items():
            for name, child in inode.entries.items():
                self.places.setdefault(child, set()).add((number, name))

    def apply(
        self, record: Record, inodes: list[InodeChange], entries: list[EntryChange], moves: list[Move]
    ) -> None:
        self.record = record
        self.move(moves)
        self.loose: dict[int, tuple[int, Place]] = {}  # not in the tree yet, or not any more
        self.loose_order: list[int] = []
        self.set_aside: set[int] = set()  # revived, and not for its old name
        self.find_families(inodes, entries)
        made = {change.inode for change in inodes if change.kind == MADE and self.make(change)}
        inodes = [c for c in inodes if not self.only_seen(c) or c.inode in self.aside]
        targets = {c.inode: self.change_content(c) for c in inodes if c.content and c.inode not in made}
        self.change_names(inodes, entries)
        for change in inodes:
            if change.kind != REMOVED and change.inode not in made and not self.only_seen(change):
                self.change_attributes(change, targets.get(change.inode, 0))

    def move(self, moves: list[Move]) -> None:
        """In all versions of a file that is there."""
        versions: dict[int, list[Version]] = {}
        for (number, _), version in self.remains.versions.items() if moves else ():
            if isinstance(version, Version):
                versions.setdefault(number, []).append(version)
        for number, of_file in groupby(moves, lambda m: m.inode):
            number, of_file = self.remains.alias(number), list(of_file)
            inode = self.inodes.get(number)
            if inode is None or inode.type != FILE:
                continue
            inode.pieces = moved(inode.pieces, of_file)
            for version in versions.get(number, []):
                version.pieces = moved(version.pieces, of_file)

    # --- Families: a database and what lies beside it

    @staticmethod
    def only_seen(change: InodeChange) -> bool:
        return change.kind == CHANGED and change.content is not None and change.content.base == change.content.version

    def find_families(self, inodes: list[InodeChange], entries: list[EntryChange]) -> None:
        """What was changed elsewhere goes to conflict names with all that its author saw of its family."""
        self.aside: set[int] = set()  # by the author's number
        self.families_aside: set[Place] = set()
        families: dict[Place, list[InodeChange]] = {}
        names: dict[Place, set[bytes]] = {}
        for change in inodes:
            if change.type != FILE or change.kind == MADE or change.kind == CHANGED and not change.content:
                continue
            number = self.remains.alias(change.inode)
            if number in self.inodes:
                places = self.places.get(number, set())
                if self.inodes[number].type == FILE and len(places) == 1:
                    families.setdefault(family_of(*next(iter(places))), []).append(change)
            elif number in self.remains.tombs:
                place = self.remains.tombs[number][1]
                families.setdefault(family_of(*place), []).append(change)
                names.setdefault(family_of(*place), set()).add(place[1])
        made = {c.inode for c in inodes if c.type == FILE and c.kind == MADE}
        made_names: dict[Place, list[EntryChange]] = {}
        for entry in entries:
            if not entry.after or entry.type != FILE:
                continue
            family = family_of(self.remains.alias(entry.directory), entry.name)
            if companion_suffix(entry.name):
                families.setdefault(family, [])
            if entry.after in made:
                made_names.setdefault(family, []).append(entry)
        told = {self.remains.alias(c.inode) for c in inodes}
        told |= {self.remains.alias(n) for e in entries for n in (e.before, e.after) if n}
        for family, changes in families.items():
            directory = self.inodes.get(family[0])
            there = directory.entries if directory else {}
            all_names, elsewhere = names.get(family, set()), False
            for member in (b"", b"-wal", b"-journal"):
                number = there.get(family[1] + member)
                if number is None or self.inodes[number].type != FILE:
                    continue
                all_names.add(family[1] + member)
                elsewhere |= number not in told  # its author did not see that
            all_names |= {e.name for e in made_names.get(family, [])}
            if len(all_names) < 2:
                continue
            elsewhere |= any(self.changed_elsewhere(c) for c in changes)
            for entry in made_names.get(family, []):
                known = (self.remains.alias(entry.before or 0), self.remains.alias(entry.after))
                elsewhere |= there.get(entry.name, known[0]) not in known
            if elsewhere:
                self.families_aside.add(family)
                self.aside |= {c.inode for c in changes} | {e.after for e in made_names.get(family, [])}

    def changed_elsewhere(self, change: InodeChange) -> bool:
        removed, content = change.kind == REMOVED, change.content
        seen = change.seen_version if removed else content.base
        way = self.remains.follow(self.inodes, self.remains.alias(change.inode), seen)
        file, inode = way[-1], self.inodes.get(way[-1])
        if len(way) > 1:
            return True
        if inode is None:
            return not removed and file in self.remains.tombs
        if inode.type != FILE or inode.version == seen:
            return False
        if not removed and not self.only_seen(change):
            if inode.version == content.version or (file, content.version) in self.remains.versions:
                return False
        base = self.version(file, inode, seen)
        return base is None or not is_equal(base, Version(inode.pieces, inode.size))

    # --- Inodes

    def make(self, change: InodeChange) -> bool:
        number, content = change.inode, change.content or Content(0, 0, 0, [])
        if number in self.inodes or number in self.remains.aliases:
            return False
        if number in self.remains.tombs:  # its author brought it back
            old, _ = self.remains.tombs[number]
            if old.type != change.type or content.version != 0 and old.version == content.version:
                return False
            del self.remains.tombs[number]
            if old.type == FILE:
                self.remains.versions[number, old.version] = Version(old.pieces, old.size)
        inode = self.inodes[number] = Inode(change.type)
        for name, value in change.fields.items():
            setattr(inode, name, value)
        self.change_xattrs(inode, change)
        inode.pieces, inode.size = with_pieces([], content.pieces, content.size), content.size
        inode.version = content.version
        if inode.origin:
            self.remains.moved_if_new(self.remains.alias(inode.origin), inode.version, number)
        if number != ROOT:
            self.set_loose(number, MADE_NOW)
        return True

    def set_loose(self, number: int, why: int, place: Place = (0, b"")) -> None:
        if number not in self.loose:
            self.loose[number] = (why, place)
            self.loose_order.append(number)

    def revive(self, number: int) -> bool:
        if number not in self.remains.tombs:
            return False
        self.inodes[number], place = self.remains.tombs.pop(number)
        self.set_loose(number, REVIVED, place)
        return True

    def bury(self, number: int, place: Place) -> None:
        self.remains.tombs[number] = (self.inodes.pop(number), place)
        self.loose.pop(number, None)

    def change_xattrs(self, inode: Inode, change: InodeChange) -> None:
        for name, value in change.xattrs.items():
            others = sum(len(n) + len(v) for n, v in inode.xattrs.items() if n != name)
            if value is None:
                inode.xattrs.pop(name, None)
            elif others + len(name) + len(value) <= XATTRS_MAX:
                inode.xattrs[name] = value

    def change_attributes(self, change: InodeChange, file: int) -> None:
        """Times belong to contents: with a version that lives in another file, they go there."""
        number = self.remains.alias(change.inode)
        elsewhere = file not in (0, number)
        for target, with_times in [(number, not elsewhere)] + ([(file, True)] if elsewhere else []):
            inode = self.inodes.get(target) or self.remains.tombs.get(target, (None,))[0]
            if inode is None or inode.type != change.type:
                continue
            for name in ("mode", "uid", "gid") + (("atime", "mtime", "ctime") if with_times else ()):
                if name in change.fields:
                    setattr(inode, name, change.fields[name])
            self.change_xattrs(inode, change)

    # --- Contents

    def change_content(self, change: InodeChange) -> int:
        """The file that has the contents then, or had them already; 0: there is none."""
        number, content, remains = self.remains.alias(change.inode), change.content, self.remains
        if origin := change.fields.get("origin", 0):
            if number not in self.inodes and number not in remains.tombs:
                number = remains.alias(origin)
        way = remains.follow(self.inodes, number, content.base)
        file = way[-1]
        inode = self.inodes.get(file) or remains.tombs.get(file, (None,))[0]
        if inode is None or inode.type != FILE:
            return 0
        aside, seen = change.inode in self.aside, self.only_seen(change)
        if not seen and (inode.version == content.version or (file, content.version) in remains.versions):
            return file
        target = file
        base = self.version(file, inode, content.base)
        if file not in self.inodes:  # its remover did not see this version, so it comes back with it
            self.revive(file)
            if seen and inode.version != content.base:
                content = replace(content, version=self.derive(number))
            if inode.version != content.version:
                self.replace(file, inode, content, base.pieces if base else [])
            if aside:
                self.set_aside.add(file)
        elif not aside and base and (inode.version == content.base or is_equal(base, Version(inode.pieces, inode.size))):
            self.replace(file, inode, content, inode.pieces)
        else:
            theirs = Version(with_pieces(base.pieces if base else [], content.pieces, content.size), content.size)
            if not aside and is_equal(theirs, Version(inode.pieces, inode.size)):
                remains.versions[file, content.version] = theirs
            else:
                target = self.make_copy(number, file, inode, content, theirs, aside)
                if seen:
                    self.inodes[target].version = target
        if seen:
            return target
        for passed in way:
            remains.moved_if_new(passed, content.version, target)
        if inode.origin:
            remains.moved_if_new(remains.alias(inode.origin), content.version, target)
        return target

    def version(self, number: int, inode: Inode, version: int) -> Version | None:
        if version == inode.version:
            return Version(inode.pieces, inode.size)
        known = self.remains.versions.get((number, version))
        return known if isinstance(known, Version) else None

    def replace(self, number: int, inode: Inode, content: Content, base: list[Piece]) -> None:
        self.remains.versions[number, inode.version] = Version(inode.pieces, inode.size)
        inode.pieces, inode.size = with_pieces(base, content.pieces, content.size), content.size
        inode.version = content.version

    def derive(self, named: int) -> int:
        number, attempt = 0, 0
        while not number or number in self.inodes or number in self.remains.tombs or number in self.remains.aliases:
            seed = b"\x14coffer conflict copy" + self.record.hash + struct.pack("<QQ", named, attempt)
            number, attempt = struct.unpack("<Q", blake2b(seed)[:8])[0] | 1 << 63, attempt + 1
        return number

    def make_copy(self, named: int, file: int, inode: Inode, content: Content, theirs: Version, aside: bool) -> int:
        number = self.derive(named)
        made = self.inodes[number] = copy.copy(inode)
        made.xattrs = dict(inode.xattrs)
        made.pieces, made.size, made.version = theirs.pieces, theirs.size, content.version
        made.origin = inode.origin or file
        self.set_loose(number, COPY, (named if aside else file, b""))
        return number

    # --- Names

    def change_names(self, inodes: list[InodeChange], entries: list[EntryChange]) -> None:
        self.attempts: dict[Place, int] = {}
        self.least: dict[int, Place] = {}  # of the names that an inode lost, the least
        self.find_removals(inodes)
        self.attached = {self.remains.alias(e.after) for e in entries if e.after}
        self.steps = [self.match(e) for e in entries]
        moved_from: dict[int, Place] = {}
        for step in self.steps:  # files that are moved, but not from where their author saw them
            inode = self.inodes.get(step.before)
            names = self.places.get(step.before, set())
            if not step.matched and step.before in self.attached and inode and inode.type != DIRECTORY and len(names) == 1:
                moved_from[step.before] = next(iter(names))
        self.detach_all()
        self.remove_directories()
        for step in self.in_order():
            self.attach(step, moved_from)
        self.place_loose()
        self.place_copies()

    def find_removals(self, inodes: list[InodeChange]) -> None:
        """A file whose contents its remover did not see is not removed."""
        self.removals: dict[int, tuple[int, bool]] = {}  # by the author's number: the inode, and whether it may go
        self.removed: set[int] = set()
        for change in inodes:
            if change.kind != REMOVED:
                continue
            number = self.remains.follow(self.inodes, change.inode, change.seen_version)[-1]
            inode, allowed = self.inodes.get(number), False
            if inode and number != ROOT and change.inode not in self.aside:
                seen = self.version(number, inode, change.seen_version)
                allowed = inode.type != FILE or seen is not None and is_equal(seen, Version(inode.pieces, inode.size))
            if allowed:
                self.removed.add(number)
            self.removals[change.inode] = (number, allowed)

    def match(self, change: EntryChange) -> Step:
        """Where the name leads now, before anything is changed."""
        directory = self.remains.alias(change.directory)
        if directory not in self.inodes or self.inodes[directory].type != DIRECTORY:
            directory = 0
        before = change.before or 0
        before = self.removals[before][0] if before in self.removals else self.remains.alias(before)
        step = Step(change, directory, before, change.name)
        if directory and before:
            really = self.remains.diverted.get((directory, before, change.name))
            if self.leads_to(directory, change.name, before):
                step.matched = True
            elif really is not None and self.leads_to(directory, really, before):
                step.matched, step.name = True, really
        return step

    def leads_to(self, directory: int, name: bytes, number: int) -> bool:
        inode = self.inodes.get(directory)
        return inode is not None and inode.entries.get(name) == number

    def detach_all(self) -> None:
        for step in self.steps:
            inode = self.inodes.get(step.before)
            if not step.matched or inode is None:
                continue
            if inode.type == DIRECTORY:
                if step.before not in self.attached:
                    continue  # a removal: later, when what is in it is gone
            elif not self.removals.get(step.change.before or 0, (0, True))[1]:
                continue
            if not self.leads_to(step.directory, step.name, step.before):
                step.matched = False
                continue
            self.detach(step.directory, step.name, step.before)

    def remove_directories(self) -> None:
        waiting = {}
        for step in self.steps:
            inode = self.inodes.get(step.before)
            if step.matched and step.before not in self.attached and inode and inode.type == DIRECTORY:
                waiting.setdefault(step.before, step)
        for first in self.steps:
            number = first.before
            while number in waiting and not self.inodes[number].entries:
                step = waiting.pop(number)
                self.detach(step.directory, step.name, number)
                self.bury(number, (step.directory, step.name))
                number = step.directory

    def in_order(self) -> list[Step]:
        """Directories before what goes into them."""
        giving_place: dict[int, int] = {}
        for i, step in enumerate(self.steps):
            if step.change.after:
                giving_place.setdefault(step.change.after, i)
        order: list[Step] = []
        done: set[int] = set()
        for i in range(len(self.steps)):
            way = []
            at: int | None = i
            while at is not None and self.steps[at].change.after and at not in done:
                done.add(at)
                way.append(self.steps[at])
                at = giving_place.get(self.steps[at].change.directory)
            order += reversed(way)
        return order

    def attach(self, step: Step, moved_from: dict[int, Place]) -> None:
        change, number = step.change, self.remains.alias(step.change.after)
        if number not in self.inodes and not self.revive(number):
            return
        if number == ROOT:
            return
        directory = self.ensure_directory(change.directory)
        if directory != step.directory and step.matched:
            step.name = change.name
        if step.name != change.name and self.leads_to(directory, change.name, number):
            return
        taken = self.inodes[directory].entries.get(step.name, 0)
        inode = self.inodes[number]
        if taken == number or inode.type != DIRECTORY and len(self.places.get(number, ())) >= LINKS_MAX:
            return
        if inode.type == DIRECTORY and self.is_within(directory, number):
            self.note(f"a move of {change.name!r} below itself did not happen")
            return
        aside = change.after in self.aside and not self.places.get(number)
        if taken and not aside and not self.places.get(number) and self.merge(number, taken):
            return
        if inode.type == DIRECTORY and self.places.get(number):  # it has one place: the later
            for old in list(self.places[number]):
                self.detach(*old, number)
            taken = self.inodes[directory].entries.get(step.name, 0)
        name = self.add_diverted(directory, step.name, number, taken, aside)
        if name != change.name:
            self.remains.diverted[directory, number, change.name] = name
        if number in moved_from:
            old = moved_from.pop(number)
            wanted = old == (directory, name) or any(
                other.change.after and (other.directory, other.change.name) == old for other in self.steps)
            if not wanted and self.leads_to(*old, number):
                self.detach(*old, number)

    def place_loose(self) -> None:
        for number in self.loose_order:  # grows on the way
            if number not in self.loose or self.loose[number][0] == COPY:
                continue
            why, place = self.loose[number]
            inode = self.inodes[number]
            if self.places.get(number):
                del self.loose[number]
            elif why == MADE_NOW:
                if inode.entries:
                    self.place(number, (ROOT, b"lost directory %d" % number))
                else:
                    self.discard(number)
            elif why == DETACHED and number in self.removed and inode.type != DIRECTORY:
                self.bury(number, self.least[number])
            else:
                self.place(number, self.least[number] if why == DETACHED else place, number in self.set_aside)

    def place_copies(self) -> None:
        for number in self.loose_order:
            if number not in self.loose:
                continue
            original = self.loose[number][1][0]
            at = (ROOT, b"lost file")
            if original in self.inodes:
                at = min(self.places.get(original, {at}))
            elif original in self.remains.tombs:
                at = self.remains.tombs[original][1]
            directory = self.ensure_directory(at[0])
            if not self.is_rooted_apart(directory, number):
                directory = ROOT
            self.add_diverted(directory, at[1], number, original)

    def detach(self, directory: int, name: bytes, number: int) -> None:
        del self.inodes[directory].entries[name]
        self.places[number].remove((directory, name))
        self.least[number] = min(self.least.get(number, (directory, name)), (directory, name))
        if not self.places[number]:
            self.set_loose(number, DETACHED)

    def add(self, directory: int, name: bytes, number: int) -> None:
        self.inodes[directory].entries[name] = number
        self.places.setdefault(number, set()).add((directory, name))
        self.remains.diverted.pop((directory, number, name), None)
        self.loose.pop(number, None)

    def add_diverted(self, directory: int, name: bytes, number: int, taken_by: int, aside: bool = False) -> bytes:
        if not taken_by and not aside:
            self.add(directory, name, number)
            return name
        device, there = self.logs[self.record.log].name, self.inodes[directory].entries
        family, other = family_of(directory, name), None
        if family in self.families_aside:  # all of it by the same number
            names = [family[1] + s for s in (b"", b"-wal", b"-journal", b"-shm")]
            if not self.attempts.get(family):
                self.attempts[family] = 1
                while any(conflict_name(n, device, self.record.time, self.attempts[family]) in there for n in names):
                    self.attempts[family] += 1
            other = conflict_name(name, device, self.record.time, self.attempts[family])
        while other is None or other in there:
            attempt = self.attempts[directory, name] = self.attempts.get((directory, name), 0) + 1
            other = conflict_name(name, device, self.record.time, attempt)
        self.add(directory, other, number)
        self.remains.diverted[directory, number, name] = other
        self.note(f"{name!r} is taken; it became {other!r}")
        return other

    def place(self, number: int, at: Place, aside: bool = False) -> None:
        directory = self.ensure_directory(at[0])
        if not self.is_rooted_apart(directory, number):
            directory = ROOT
        if self.places.get(number):
            return
        taken = self.inodes[directory].entries.get(at[1], 0)
        if aside or not (taken and self.merge(number, taken)):
            self.add_diverted(directory, at[1], number, taken, aside)

    def discard(self, number: int) -> None:
        del self.inodes[number]
        self.loose.pop(number, None)

    def merge(self, number: int, other: int) -> bool:
        """Of two equal things the later goes: only what this record made, or brought back empty."""
        if number not in self.loose or number == other:
            return False
        why, inode, there = self.loose[number][0], self.inodes[number], self.inodes[other]
        if there.type != inode.type:
            return False
        if inode.type == DIRECTORY:
            if why == DETACHED or inode.entries:
                return False
        else:
            mine, theirs = Version(inode.pieces, inode.size), Version(there.pieces, there.size)
            if why != MADE_NOW or (inode.rdev, inode.target) != (there.rdev, there.target) or not is_equal(mine, theirs):
                return False
            if inode.type == FILE and inode.version != there.version:
                self.remains.versions.setdefault((other, inode.version), theirs)
        self.discard(number)
        self.remains.aliases[number] = other
        return True

    def ensure_directory(self, named: int) -> int:
        """The directory, brought back with those around it if it was removed; the root for one that nobody knows."""
        at, parent, gone = self.remains.alias(named), ROOT, []
        while True:
            if at in self.inodes:
                if self.inodes[at].type == DIRECTORY:
                    parent = at
                break
            if at not in self.remains.tombs or self.remains.tombs[at][0].type != DIRECTORY or at in gone:
                break
            gone.append(at)
            at = self.remains.alias(self.remains.tombs[at][1][0])
        for at in reversed(gone):
            self.revive(at)
            name = self.loose[at][1][1]
            taken = self.inodes[parent].entries.get(name, 0)
            if taken and self.merge(at, taken):
                parent = taken
                continue
            self.add_diverted(parent, name, at, taken)
            parent = at
        return parent

    def parent(self, directory: int) -> int:
        return min(self.places.get(directory) or {(0, b"")})[0]

    def is_within(self, directory: int, top: int) -> bool:
        while directory not in (0, ROOT, top):
            directory = self.parent(directory)
        return directory == top

    def is_rooted_apart(self, directory: int, number: int) -> bool:
        while directory not in (0, ROOT, number):
            directory = self.parent(directory)
        return directory == ROOT

    def note(self, what: str) -> None:
        self.conflicts.append(f"{self.record.where()}: {what}")


def moved(pieces: list[Piece], moves: list[Move]) -> list[Piece]:
    parts = []
    for move in moves:
        for piece in pieces:
            there = piece.cut(move.to.start, move.to.end)
            old, new = piece.frame, move.to.frame
            if there.length > 0 and (old.pack, old.at, old.plain_length) == (move.pack, move.at, new.plain_length):
                parts.append(replace(there, frame=new))
    parts.sort(key=lambda piece: piece.start)
    return joined(with_pieces(pieces, parts, max((p.end for p in pieces), default=0)))


def is_equal(a: Version, b: Version) -> bool:
    return a.size == b.size and joined(a.pieces) == joined(b.pieces)
