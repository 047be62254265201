"""What the index job needs: which shards there are, and whether a rejected file is an error."""

from somnoflow.config.base import Section


class IndexSlice(Section):
    """Shards by dataset, and strictness."""

    shards: dict[str, list[int]]
    strict: bool
