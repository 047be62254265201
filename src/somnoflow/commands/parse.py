"""Cut the checked recordings of one shard into epochs: EDF to one Parquet part."""

import json
import logging
from typing import Any

from tqdm import tqdm

from somnoflow.config.folder import expand
from somnoflow.config.parse import ParseSlice
from somnoflow.data.labels import EVENT_NAMES
from somnoflow.data.parsing import parse_recording
from somnoflow.entry import Input, Output, command
from somnoflow.io.atomic import write_json
from somnoflow.io.digest import sha256_file
from somnoflow.io.parquet import PartWriter, part_schema
from somnoflow.io.rejection import Rejection
from somnoflow.signals.channels import STORAGE, modality_of
from somnoflow.stages import EPOCH_SECONDS

logger = logging.getLogger("somnoflow.parse")


def parse(*, checked: Input, part: Output, index: Output, cfg: ParseSlice) -> None:
    """Write all epochs of the shard, and an index of what was taken and what was not."""
    given = json.loads(checked.read_text(encoding="utf-8"))
    folder = expand(given["folder"])
    rows: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []
    rejected: list[dict[str, str]] = []
    with PartWriter(part, _schema(cfg), epoch_seconds=EPOCH_SECONDS) as writer:
        for entry in tqdm(given["recordings"], desc="parse", unit="recording", disable=None):
            try:
                parsed = parse_recording(
                    entry, folder=folder, reading=cfg.reading, signals=cfg.signals
                )
            except Rejection as rejection:
                logger.warning("%s rejected: %s", entry["signal"], rejection)
                identity = {"file": entry["signal"], "recording": entry["recording"]}
                rejected.append({**identity, **rejection.row()})
                continue
            writer.write(parsed.epochs)
            rows.append(parsed.row)
            channels += parsed.channels
            del parsed  # its samples must not stay in memory beside those of the next recording
    content = {
        "dataset": given["dataset"],
        "shard": given["shard"],
        "simulated": cfg.simulated,
        "part": {"file": "part-0.parquet", "sha256": sha256_file(part)},
        "recordings": rows,
        "channels": channels,
        "rejected": rejected,
    }
    write_json(index, content)


def _schema(cfg: ParseSlice) -> Any:
    signals = cfg.signals
    described = {
        channel: {
            "unit": STORAGE[modality_of(channel)].unit,
            "filter_hz": signals.filters.get(modality_of(channel)),  # type: ignore[call-overload]
            "sampling_rate": signals.sampling_rate,
        }
        for channel in signals.channels
    }
    return part_schema(
        signals.channels,
        events=EVENT_NAMES,
        samples=signals.sampling_rate * EPOCH_SECONDS,
        metadata={
            "dataset": cfg.dataset,
            "simulated": cfg.simulated,
            "epoch_seconds": EPOCH_SECONDS,
            "channels": described,
        },
    )


if __name__ == "__main__":
    command(parse)
