"""Score the stages of test subjects with every subset of a fusion's modalities."""

import logging

import polars as pl
import pyarrow.parquet as pq

from somnoflow.config.synthsleepnet import AblateSlice
from somnoflow.data.packed import PackedEpochs
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.models.heads import LinearProbe, load_head, require_task
from somnoflow.models.synthsleepnet import load_synthsleepnet
from somnoflow.training.ablation import SCHEMA, ablate_recordings
from somnoflow.training.device import choose_device, prepare
from somnoflow.training.roles import read_roles, require_subjects
from somnoflow.training.signals import require_fitting_shards

log = logging.getLogger(__name__)


def ablate(
    *,
    encoder: Input,
    head: Input,
    packed: Inputs,
    split: Input,
    counts: Output,
    fold: int,
    gpus: int,
    threads: int,
    cfg: AblateSlice,
) -> None:
    """Count true and predicted stages for each subset; nothing is trained for it."""
    device = choose_device(gpus)
    prepare(device, threads=threads)
    roles = read_roles(split, fold=fold)
    model, about = load_synthsleepnet(encoder)
    require_fitting_shards(packed, encoder=model, about=about, of=encoder)
    probe = load_head(head, dimension=model.dimension)
    require_task(probe.task, wanted="staging", of=head)
    if not isinstance(probe, LinearProbe):
        raise ValueError(f"{head} holds a {type(probe).__name__}, wanted a linear probe")
    epochs = PackedEpochs(packed, channels=model.channels, subjects=roles.test, require="any")
    require_subjects(roles.test, epochs.table["subject"].unique(), where="the packed shards")
    parts = list(
        ablate_recordings(model.to(device), probe, epochs, batch_size=cfg.batch_size, device=device)
    )
    table = pl.concat([pl.DataFrame(SCHEMA.empty_table()), *parts])
    log.info(
        "%d recordings with a scored epoch, %d subsets of modalities",
        len(parts), table["modalities"].n_unique(),
    )  # fmt: skip
    pq.write_table(table.to_arrow().cast(SCHEMA), counts, compression="zstd")


if __name__ == "__main__":
    command(ablate)
