"""Objects by their keys: coffer-format(5), THE STORE."""
import os

from archives import read_archive, record_in
from codec import Fault


class Store:
    """A directory of objects, by key; records that archives hold are there as if they were objects."""

    def __init__(self, path: str):
        self.path = os.path.abspath(path)
        self.archived: dict[str, tuple[str, tuple[int, int, bytes]]] | None = None

    def in_archives(self) -> dict[str, tuple[str, tuple[int, int, bytes]]]:
        """By the keys of records: the archive that holds it, and where."""
        if self.archived is None:
            self.archived = {}
            for key in self.objects("log/archive"):
                archive = key.rpartition("/")[2]
                if not in_hex(archive, 32):
                    continue
                try:
                    records = read_archive(bytes.fromhex(archive), self.get(key)).records
                except Fault as fault:
                    raise Fault(f"{key}: {fault}") from None
                self.archived |= {record: (key, place) for record, place in records.items()}
        return self.archived

    def get(self, key: str) -> bytes:
        try:
            with open(os.path.join(self.path, key), "rb") as f:
                return f.read()
        except OSError as error:
            if key.startswith("log/") and key in self.in_archives():
                archive, place = self.in_archives()[key]
                return record_in(self.get(archive), place)
            raise Fault(f"cannot be read: {error.strerror}") from None

    def objects(self, prefix: str = "") -> list[str]:
        found = []
        for folder, _, files in os.walk(os.path.join(self.path, prefix)):
            found += [os.path.relpath(os.path.join(folder, name), self.path) for name in files]
        return sorted(found)

    def keys(self, prefix: str = "") -> list[str]:
        """As objects(), with the records that only archives hold."""
        archived = self.in_archives() if prefix == "log" else {}
        return sorted({*self.objects(prefix), *archived})


def in_hex(text: str, digits: int) -> bool:
    return len(text) == digits and all(c in "0123456789abcdef" for c in text)


def object_key(object_id: bytes) -> str:
    return f"obj/{object_id.hex()[:2]}/{object_id.hex()}"
