"""Objects by their keys: coffer-format(5), THE STORE."""
import os

from codec import Fault


class Store:
    """A directory of objects, by key."""

    def __init__(self, path: str):
        self.path = os.path.abspath(path)

    def get(self, key: str) -> bytes:
        try:
            with open(os.path.join(self.path, key), "rb") as f:
                return f.read()
        except OSError as error:
            raise Fault(f"cannot be read: {error.strerror}") from None

    def keys(self, prefix: str = "") -> list[str]:
        found = []
        for folder, _, files in os.walk(os.path.join(self.path, prefix)):
            found += [os.path.relpath(os.path.join(folder, name), self.path) for name in files]
        return sorted(found)


def in_hex(text: str, digits: int) -> bool:
    return len(text) == digits and all(c in "0123456789abcdef" for c in text)


def object_key(object_id: bytes) -> str:
    return f"obj/{object_id.hex()[:2]}/{object_id.hex()}"
