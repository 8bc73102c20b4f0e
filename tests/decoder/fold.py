"""Applies records, one after the other in their common order, to the state."""
from changes import CHANGED, DIRECTORY, MADE, REMOVED, EntryChange, InodeChange
from codec import Fault
from contents import with_pieces
from records import Record
from state import Inode, Volume


def apply(volume: Volume, record: Record, inodes: list[InodeChange], entries: list[EntryChange]) -> None:
    for change in inodes:
        if change.kind == REMOVED:
            continue
        if change.kind == MADE:
            volume.inodes[change.inode] = Inode(change.type)
        inode = volume.inodes[change.inode]
        for name, value in change.fields.items():
            setattr(inode, name, value)
        for name, value in change.xattrs.items():
            if value is None:
                inode.xattrs.pop(name, None)
            else:
                inode.xattrs[name] = value
        if change.content:
            if change.kind == CHANGED and inode.version != change.content.base:
                raise Fault("conflict")
            inode.pieces = with_pieces(inode.pieces, change.content.pieces, change.content.size)
            inode.size, inode.version = change.content.size, change.content.version
    for change in entries:
        names = volume.inodes[change.directory].entries
        if names.get(change.name) != change.before:
            raise Fault("conflict")
        if change.after is None:
            del names[change.name]
        else:
            names[change.name] = change.after
