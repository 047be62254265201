"""Verify the files of one shard against its manifest; a wrong file goes no further."""

import re
from pathlib import Path

from somnoflow.config.dataset import CheckSlice
from somnoflow.config.folder import expand
from somnoflow.entry import Input, Output, command
from somnoflow.io.atomic import write_json
from somnoflow.io.checking import check_files, extra_files
from somnoflow.io.manifest import (
    files_below,
    iterate_manifest,
    read_manifest,
    select_rows,
    shard_of,
)
from somnoflow.io.rawstate import note, signatures
from somnoflow.io.table import write_table

COLUMNS = ("stage", "file", "recording", "problem", "found", "wanted", "advice")


def check(
    *,
    shard_manifest: Input,
    manifest: Path,
    recordings: Output,
    problems: Output,
    state: Path,
    threads: int,
    cfg: CheckSlice,
) -> None:
    """Write the recordings that may be parsed, and a table of all that is wrong."""
    folder = expand(cfg.folder)
    if not folder.is_dir():
        raise ValueError(
            f"the folder of {cfg.dataset} is missing on this machine: {folder}. Wanted: the folder "
            "with its recordings. Mount it, or correct `folders` in the configuration"
        )
    rows = read_manifest(shard_manifest)
    seen = signatures([row.file for row in rows], folder=folder)
    checked = check_files(rows, folder=folder, stages_wanted=cfg.stages_wanted, threads=threads)
    extra = _extra(folder, manifest=manifest, made=state.parent.parent, cfg=cfg)
    write_table(problems, [*checked.problems, *extra], columns=COLUMNS)
    write_json(
        recordings,
        {
            "dataset": cfg.dataset,
            "shard": cfg.shard,
            "folder": cfg.folder,
            "recordings": checked.recordings,
        },
    )
    note(state, seen=seen, observed=checked.observed)


def _extra(folder: Path, *, manifest: Path, made: Path, cfg: CheckSlice) -> list[dict[str, str]]:
    """Give the files that no row of the whole manifest names.

    The first shard that has subjects does it for all: hundreds of jobs that each list the whole
    folder are slow on a network disk. What the workflow itself puts below `made`, a folder for each
    shard, is not meant. The list is of the time when that shard was checked.
    """
    if not manifest.is_file():
        return []
    selected = select_rows(iterate_manifest(manifest), **cfg.selection.model_dump())
    if any(shard_of(cfg.dataset, row.subject, cfg.shards) < cfg.shard for row in selected):
        return []
    own = made.resolve() == folder.resolve()
    files = (
        name
        for name in files_below(folder)
        if not (own and name.startswith("shard="))
        and not (cfg.ignore and re.fullmatch(cfg.ignore, name))
    )
    return extra_files(files, known={row.file for row in iterate_manifest(manifest)})


if __name__ == "__main__":
    command(check)
