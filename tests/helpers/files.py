"""Files that are damaged or malicious."""

import os


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


class Malicious:
    """Makes a file of the name `trace` when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)
