"""Files that are damaged or malicious."""

import os


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[-50] ^= 1
    path.write_bytes(bytes(content))


def empty(path):
    path.write_bytes(b"")


class Malicious:
    """Makes a file of the name `trace` when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)
