"""Verify the files of one shard against its manifest; a wrong file goes no further."""

from pathlib import Path

from somnoflow.config.dataset import CheckSlice
from somnoflow.config.folder import expand
from somnoflow.entry import Input, Output, command
from somnoflow.io.atomic import write_json
from somnoflow.io.checking import check_files, extra_files
from somnoflow.io.manifest import files_below, read_manifest, shard_of
from somnoflow.io.rawstate import note
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
    rows = read_manifest(shard_manifest)
    checked = check_files(rows, folder=folder, stages_wanted=cfg.stages_wanted, threads=threads)
    extra = []
    if manifest.is_file():
        own = [name for name in files_below(folder) if _is_ours(name, cfg)]
        extra = extra_files(own, known=[row.file for row in read_manifest(manifest)])
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
    note(state, folder=folder, observed=checked.observed)


def _is_ours(name: str, cfg: CheckSlice) -> bool:
    """Deal the files out to the shards by their names, so that each is reported once."""
    return shard_of(cfg.dataset, name, cfg.shards) == cfg.shard


if __name__ == "__main__":
    command(check)
