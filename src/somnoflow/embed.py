"""`somnoflow embed`: embeddings of nights with a trained encoder, a Parquet file for each.

What is decided here: a file that is there is not made again, so that what was interrupted goes on
where it stopped; one that another encoder or other settings made is not taken for it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from somnoflow.config.base import ConfigError
from somnoflow.config.dataset import Reading
from somnoflow.config.pack import Pack
from somnoflow.config.signals import Signals
from somnoflow.io.atomic import atomic
from somnoflow.io.digest import sha256_file
from somnoflow.models.encoders import Encoder, ModalityEncoder, load_encoder
from somnoflow.models.errors import WeightsError
from somnoflow.models.published_checkpoint import is_torch_file
from somnoflow.models.synthsleepnet import SynthSleepNet
from somnoflow.night import Night
from somnoflow.nights import (
    describe_night,
    do_nights,
    find_recordings,
    fit_signals,
    name_outputs,
)
from somnoflow.stages import EPOCH_SECONDS
from somnoflow.training.device import choose_device, prepare
from somnoflow.training.embedding import embedding_table, name_modalities
from somnoflow.training.encoding import embed_rows

MADE_BY = b"somnoflow"


def embed_nights(
    given: Sequence[Path],
    *,
    encoder: Path,
    out: Path,
    reading: Reading,
    signals: Signals,
    pack: Pack,
    settings_from: str,
    batch_size: int,
    force: bool,
) -> int:
    """Embed every epoch of some recordings, and say of each what was done.

    Parameters
    ----------
    given
        Recordings, and folders with recordings.
    encoder
        Weights that `models.encoders.load_encoder` reads.
    out
        Folder of the files to write: `<name of the recording>.parquet` with the columns of
        `training.embedding.embedding_schema`, and `rejected.tsv`.
    reading, signals, pack
        As for `night.read_night`.
    settings_from
        Where `signals` and `pack` come from, to be said.
    batch_size
        Epochs per forward pass.
    force
        Whether files that are there are made again.

    Returns
    -------
    Number of rejected recordings.

    Raises
    ------
    ConfigError
        When a recording is not there, two would become one file, or a file is there that was made
        otherwise; nothing was done then.
    WeightsError
        When the encoder cannot be used.
    """
    files = name_outputs(find_recordings(given), out=out, suffix=".parquet")
    model = _load(encoder)
    signals = fit_signals(signals, channels=model.channels, sampling_rate=model.sampling_rate)
    made_by = {
        "encoder_sha256": sha256_file(encoder),
        "reading": reading.model_dump(mode="json"),
        "signals": signals.model_dump(mode="json"),
        "pack": pack.model_dump(mode="json"),
    }
    done = set() if force else _done(files, made_by=made_by)
    tqdm.write(
        f"{encoder}: {', '.join(model.channels)} at {model.sampling_rate} Hz, {model.dimension} "
        f"values for an epoch; filters, quality and scaling: {settings_from}"
    )
    device = choose_device(gpus=1)
    prepare(device, threads=torch.get_num_threads())
    model.to(device)

    def make(to: Path, night: Night) -> str:
        embedding = embed_night(model, night, batch_size=batch_size, device=device)
        write_night(to, night, embedding, made_by=made_by)
        return describe_night(night)

    return do_nights(
        files, done=done, out=out, reading=reading, signals=signals, pack=pack, make=make
    )


def embed_night(
    model: Encoder, night: Night, *, batch_size: int, device: torch.device
) -> npt.NDArray[np.float32]:
    """Give the embeddings (N, D) of the epochs of a night; 0 where one is not usable."""
    embedding = np.zeros((len(night), model.dimension), np.float32)
    rows = night.rows(scored=False)
    embedding[rows] = embed_rows(model, night, rows, batch_size=batch_size, device=device)
    return embedding


def write_night(
    path: Path, night: Night, embedding: npt.NDArray[np.float32], *, made_by: Mapping[str, Any]
) -> None:
    """Write one row for each epoch (N, D), and what made them among the file's metadata."""
    table = embedding_table(
        night.table.with_columns(modalities=name_modalities(night.channels, night.present)),
        embedding,
    )
    described = json.dumps(made_by, sort_keys=True)
    with atomic(path) as partial:
        pq.write_table(
            table.replace_schema_metadata({MADE_BY: described}), partial, compression="zstd"
        )


def _load(path: Path) -> ModalityEncoder | SynthSleepNet:
    if is_torch_file(path):
        raise WeightsError(
            f"{path} is a torch file. Make it an encoder first, with: somnoflow convert {path} "
            "--to encoder.safetensors"
        )
    try:
        model, _ = load_encoder(path)
    except ValueError as error:
        raise WeightsError(str(error)) from error
    if model.samples != EPOCH_SECONDS * model.sampling_rate:
        raise WeightsError(
            f"{path} reads epochs of {model.samples / model.sampling_rate:g} s, wanted "
            f"{EPOCH_SECONDS} s: epochs are cut at this length"
        )
    return model


def _done(files: Mapping[Path, Path], *, made_by: Mapping[str, Any]) -> set[Path]:
    """Give the files that are there; raise where one was made otherwise."""
    there = {to for to in files if to.exists()}
    for to in sorted(there):
        try:
            found = (pq.read_schema(to).metadata or {}).get(MADE_BY)
        except pa.ArrowInvalid:
            found = None
        if found is None or json.loads(found) != made_by:
            raise ConfigError(
                f"{to} is there already, and another encoder or other settings made it. Wanted: "
                "another folder after --out, or --force to make it again"
            )
    return there
