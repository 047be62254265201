"""Gather what all shards hold: one index, and the tables of recordings, channels and rejections."""

from somnoflow.config.index import IndexSlice
from somnoflow.data.cohort import CHANNEL_COLUMNS, RECORDING_COLUMNS, REJECTED_COLUMNS, gather
from somnoflow.entry import Inputs, Output, command
from somnoflow.io.atomic import write_json
from somnoflow.io.table import write_table


def index(
    *,
    parts: Inputs,
    problems: Inputs,
    index: Output,
    recordings: Output,
    rejected: Output,
    channels: Output,
    cfg: IndexSlice,
) -> None:
    """Write the cohort's index and tables; stop on rejected files when the run is strict."""
    cohort = gather(parts, problems, strict=cfg.strict)
    write_table(recordings, cohort.recordings, columns=RECORDING_COLUMNS)
    write_table(rejected, cohort.rejected, columns=REJECTED_COLUMNS)
    write_table(channels, cohort.channels, columns=CHANNEL_COLUMNS)
    write_json(index, cohort.index)


if __name__ == "__main__":
    command(index)
