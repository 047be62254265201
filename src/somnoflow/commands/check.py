"""Verify the files of one shard against its manifest; a wrong file goes no further."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from somnoflow.config.dataset import CheckSlice
from somnoflow.config.folder import expand
from somnoflow.entry import Input, Output, command
from somnoflow.io.atomic import write_json
from somnoflow.io.checking import check_files, extra_files
from somnoflow.io.manifest import Row, files_below, read_manifest, select_rows, shard_of
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
    extra = []
    if manifest.is_file():
        whole = read_manifest(manifest)
        ours = _ours(files_below(folder), whole=whole, made=state.parent.parent, cfg=cfg)
        extra = extra_files(ours, known=[row.file for row in whole])
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


def _ours(
    files: Iterable[str], *, whole: Sequence[Row], made: Path, cfg: CheckSlice
) -> Iterator[str]:
    """Give the files that this shard reports on, so that each is reported once.

    They are dealt out by their names to the shards that have subjects; what the workflow itself
    puts below `made`, a folder for each shard, is not theirs.
    """
    selected = select_rows(whole, **cfg.selection.model_dump())
    shards = {shard_of(cfg.dataset, row.subject, cfg.shards) for row in selected} or {cfg.shard}
    own = made.resolve() == expand(cfg.folder).resolve()
    for name in files:
        first = shard_of(cfg.dataset, name, cfg.shards)
        reporter = min(shards, key=lambda shard: (shard - first) % cfg.shards)
        if reporter == cfg.shard and not (own and name.startswith("shard=")):
            yield name


if __name__ == "__main__":
    command(check)
