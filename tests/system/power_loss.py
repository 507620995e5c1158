"""The record of sync_recorder.so, and the folders that a power cut might have left of it.

Model: what a sync covered is there. Of what was written since, each sector of 512 bytes, as a disk counts them, may or
may not be; likewise the names and sizes that no sync has covered.
"""

import os
import random
import struct

NAME, WRITE, SYNC, RENAME, SYNC_FOLDER, UNLINK, SIZE, FAILED = range(1, 9)
CUT = 100  # ours: of the last write to a file only so many bytes were made
SECTOR = 512
HEADER = struct.Struct("<IIQQ")


def entries(path):
    """Yields (byte after the entry, kind, file, at, data)."""
    with open(path, "rb") as f:
        record = f.read()
    place = 0
    while place + HEADER.size <= len(record):
        kind, size, file, at = HEADER.unpack_from(record, place)
        place += HEADER.size
        yield place + size, kind, file, at, record[place:place + size]
        place += size


def cut_short(record, folder):
    """After a kill. The recorder notes a write before it is made, and the kernel ends one of several pages early when its
    process is killed: what never reached the file is taken out of the record."""
    inodes = {os.stat(path).st_ino: path for path in (os.path.join(folder, name) for name in os.listdir(folder))}
    last = {}
    for _, kind, file, at, data in entries(record):
        if kind == WRITE:
            last[file] = (at, data)
        elif kind != FAILED:
            last.pop(file, None)
    with open(record, "ab") as out:
        for file, (at, data) in last.items():
            if file not in inodes:
                continue
            with open(inodes[file], "rb") as f:
                f.seek(at)
                made = len(os.path.commonprefix([f.read(len(data)), data]))
            if made < len(data):
                out.write(HEADER.pack(CUT, 0, file, made))


class File:
    def __init__(self):
        self.synced = bytearray()
        self.pending = []  # (at, data), or (None, size)

    def apply(self, content, operation, keep=lambda: True):
        at, data = operation
        if at is None:
            if keep():
                del content[data:]
                content.extend(bytes(data - len(content)))
            return
        done = 0
        while done < len(data):
            begin = at + done
            piece = data[done:done + SECTOR - begin % SECTOR]
            done += len(piece)
            if keep():
                content.extend(bytes(max(0, begin + len(piece) - len(content))))
                content[begin:begin + len(piece)] = piece

    def sync(self):
        for operation in self.pending:
            at, data = operation
            if at is None or len(data) <= SECTOR:
                self.apply(self.synced, operation)
            else:  # the same, at once
                self.synced.extend(bytes(max(0, at + len(data) - len(self.synced))))
                self.synced[at:at + len(data)] = data
        self.pending = []


class Disk:
    """Folds entries; `image` writes one of the folders that a power cut now might leave."""

    def __init__(self):
        self.files = {}
        self.names = {}          # as the processes see them
        self.synced_names = {}   # as of the last sync of the folder
        self.name_changes = []   # since then

    def take(self, kind, file, at, data):
        if kind == NAME:
            self.files.setdefault(file, File())
            name = data.decode()
            if self.names.get(name) != file:
                self._name(name, file)
        elif kind == WRITE:
            self.files[file].pending.append((at, data))
        elif kind == CUT:
            began, data = self.files[file].pending.pop()
            self.files[file].pending.append((began, data[:at]))
        elif kind == SIZE:
            self.files[file].pending.append((None, at))
        elif kind == SYNC:
            self.files[file].sync()
        elif kind == SYNC_FOLDER:
            self.synced_names, self.name_changes = dict(self.names), []
        elif kind == RENAME:
            old, new = data.decode().split("\0")
            if old in self.names:
                self._name(new, self.names[old])
                self._name(old, None)
        elif kind == UNLINK:
            self._name(data.decode(), None)

    def _name(self, name, file):
        self.names[name] = file
        self.name_changes.append((name, file))
        if file is None:
            del self.names[name]

    def image(self, folder, chance):
        """`chance` of each unsynced sector, size and name to be there."""
        os.makedirs(folder)
        names = dict(self.synced_names)
        kept = sum(random.random() < chance for _ in self.name_changes)
        for name, file in self.name_changes[:kept]:  # a journal keeps the order of names
            if file is None:
                names.pop(name, None)
            else:
                names[name] = file
        for name, file in names.items():
            content = bytearray(self.files[file].synced)
            for operation in self.files[file].pending:
                self.files[file].apply(content, operation, lambda: random.random() < chance)
            with open(os.path.join(folder, name), "wb") as f:
                f.write(content)
