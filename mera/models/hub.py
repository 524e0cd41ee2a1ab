"""Flows on the Hugging Face hub: a repository with the file of `mera.save` and a page that describes the flow."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from mera._utils.errors import InputError
from mera._utils.installation import import_optional
from mera.flow.density import Density
from mera.models.saving import save

PREFIX, FILE = "hf://", "flow.safetensors"
"""How the address of a flow begins, and the name of its file in the repository."""
NAME = re.compile(r"([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?")
"""The name of a repository, USER/NAME, and a revision, a branch, a tag or a commit."""
CARD = """---
library_name: mera
tags: [normalizing-flow]
---
A flow of [mera](https://arxiv.org/abs/2010.00029), for `mera.load("{address}")`:

```
{flow!r}
```
"""


def push(flow: Density, name: str, *, private: bool = True, token: str | None = None) -> str:
    """Upload a flow to the Hugging Face hub, where `mera.load` finds it; needs `mera-flow[hub]`.

    Args:
        flow: the flow.
        name: the repository, "user/name" or "user/name@branch", which is made if there is none.
        private: whether a new repository is private.
        token: a token of the hub; that of `hf auth login` if None.

    Returns:
        The address for `mera.load`, "hf://user/name".

    Raises:
        ValueError: if the name has another form, huggingface_hub is not installed, or the flow cannot be saved.
    """
    repository, revision = _parsed(name)
    hub = import_optional("huggingface_hub", "hub")
    with TemporaryDirectory() as folder:
        save(flow, file := Path(folder) / FILE)
        hub.create_repo(repository, private=private, exist_ok=True, token=token)
        if revision is not None:
            hub.create_branch(repository, branch=revision, exist_ok=True, token=token)
        card = CARD.format(address=PREFIX + repository, flow=flow).encode()
        for content, path in ((str(file), FILE), (card, "README.md")):
            hub.upload_file(
                path_or_fileobj=content, path_in_repo=path, repo_id=repository, revision=revision, token=token
            )
    return PREFIX + name


def download(address: str) -> Path:
    """The file of a flow of the hub, "hf://user/name" or "hf://user/name@revision", from the cache of the hub.

    Raises:
        ValueError: if the address has another form, or huggingface_hub is not installed.
    """
    repository, revision = _parsed(address.removeprefix(PREFIX))
    hub = import_optional("huggingface_hub", "hub")
    return Path(hub.hf_hub_download(repository, FILE, revision=revision))


def _parsed(name: str) -> tuple[str, str | None]:
    """The repository and the revision of a name, "user/name@revision"."""
    found = NAME.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        raise InputError("a repository of the hub, user/name or user/name@revision", repr(name))
    return found[1], found[2]
