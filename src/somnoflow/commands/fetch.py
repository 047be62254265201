"""Bring the files of one shard here: take them from the named folder, or download them."""

import logging
from pathlib import Path

from somnoflow.config.dataset import FetchSlice
from somnoflow.entry import Output, command
from somnoflow.io.download import download
from somnoflow.io.manifest import (
    iterate_manifest,
    rows_digest,
    select_rows,
    shard_of,
    write_manifest,
)
from somnoflow.io.publisher import Publisher, read_token

logger = logging.getLogger("somnoflow.fetch")


def fetch(
    *,
    manifest: Path,
    folder: Path,
    shard_manifest: Output,
    threads: int,
    mb_per_s: int,
    cfg: FetchSlice,
) -> None:
    """Write the shard's part of the manifest; download its files where no folder is named."""
    rows = [
        row
        for row in select_rows(iterate_manifest(manifest), **cfg.selection.model_dump())
        if shard_of(cfg.dataset, row.subject, cfg.shards) == cfg.shard
    ]
    if rows_digest(rows) != cfg.rows:
        raise ValueError(f"{manifest} changed while the workflow was running; start it again")
    if cfg.folder is None and cfg.url is not None:
        publisher = Publisher(cfg.url, token=read_token(cfg.token_variable))
        problems = download(
            rows, publisher=publisher, folder=folder, threads=threads, mb_per_s=mb_per_s
        )
        for problem in problems:
            logger.warning("%s", problem)
        if problems:
            logger.warning(
                "%d of %d files are missing. To try again: snakemake --forcerun fetch",
                len(problems),
                len(rows),
            )
    write_manifest(shard_manifest, rows)


if __name__ == "__main__":
    command(fetch)
