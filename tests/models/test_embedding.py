"""Embeddings: the names of what is present, and memory that does not grow with the cohort."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from packed_shards import make_cohort
from torch import Tensor

from somnoflow.config.pretrain import Recipe
from somnoflow.data.packed import PackedEpochs
from somnoflow.models.encoders import ModalityEncoder
from somnoflow.training.embedding import embed_rows, embed_shard, name_modalities
from somnoflow.training.initial import build_neuronet

CPU = torch.device("cpu")


class Means:
    """Features (B, 2) of the first channel, by the batch."""

    dimension = 2

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def forward_features(self, signals: Tensor, present: Tensor) -> Tensor:
        self.sizes.append(len(signals))
        assert present.shape == signals.shape[:2]
        return torch.stack([signals[:, 0].mean(dim=1), signals[:, 0].std(dim=1)], dim=1)


@pytest.fixture(scope="module")
def epochs(tmp_path_factory: pytest.TempPathFactory) -> PackedEpochs:
    folder = tmp_path_factory.mktemp("cohort")
    cohort = make_cohort(folder, epochs=40, absent={"sim/b": ["EOG_L"]})
    return PackedEpochs(cohort.packed, channels=["EEG_C4", "EOG_L"], require="any")


def test_present_modalities_are_named_once_in_the_order_of_the_channels() -> None:
    channels = ["EEG_C4", "EOG_L", "EEG_C3", "ECG"]
    present = np.array(
        [[1, 1, 1, 1], [0, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0]], dtype=bool
    )
    names = name_modalities(channels, present).to_list()
    assert names == ["EEG+EOG+ECG", "EEG", "EOG+EEG", "", "EEG"]
    assert name_modalities(channels, present[:0]).to_list() == []


def test_a_neuronet_and_its_encoder_embed_alike(epochs: PackedEpochs, tmp_path: Path) -> None:
    """The probes of pre-training call the one, the rule embed the other."""
    cohort = make_cohort(tmp_path)
    one = PackedEpochs(cohort.packed, channels=["EEG_C4"])
    model = build_neuronet(Recipe(frame_step=3.0), sampling_rate=100).eval()
    rows = one.rows(scored=False)
    encoder = ModalityEncoder(model, channels=["EEG_C4"])
    found = [embed_rows(m, one, rows, batch_size=7, device=CPU) for m in (model, encoder)]
    np.testing.assert_array_equal(*found)


def test_a_batch_is_all_that_is_read_at_once(epochs: PackedEpochs) -> None:
    """Peaks of numpy's memory beside the result, for 30 epochs and for all 200."""
    peaks = []
    for count in (30, 200):
        model = Means()
        tracemalloc.start()
        features = embed_rows(model, epochs, np.arange(count), batch_size=10, device=CPU)
        peaks.append(tracemalloc.get_traced_memory()[1] - features.nbytes)
        tracemalloc.stop()
        assert model.sizes == [10] * (count // 10)
    batch = 10 * 2 * 3000 * 4
    assert peaks[0] > batch
    assert abs(peaks[1] - peaks[0]) < batch / 4


def test_a_shard_is_written_block_by_block(
    epochs: PackedEpochs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("somnoflow.training.embedding.BLOCK", 2)
    asked: list[int] = []

    def spied(model: Means, epochs: PackedEpochs, rows: np.ndarray, **options: object) -> Tensor:
        asked.append(len(rows))
        return embed_rows(model, epochs, rows, **options)

    monkeypatch.setattr("somnoflow.training.embedding.embed_rows", spied)
    usable = embed_shard(Means(), epochs, tmp_path / "p", batch_size=10, device=CPU)
    assert sum(asked) == usable == 199
    assert max(asked) == 20
