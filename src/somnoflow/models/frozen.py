"""What training must not change: a digest to compare before and after (defect N8)."""

import hashlib
from collections.abc import Iterable

from torch import Tensor


def digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Give the SHA-256 of names and values, in the order of the names."""
    sha = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        sha.update(name.encode())
        sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()
