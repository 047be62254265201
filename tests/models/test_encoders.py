"""Encoders from their files: one form for one channel, several, and a fusion."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from somnoflow.models.encoders import Encoder, ModalityEncoder, load_encoder
from somnoflow.models.errors import WeightsError
from somnoflow.models.neuronet import NeuroNet, neuronet
from somnoflow.models.synthsleepnet import save_synthsleepnet, synthsleepnet
from somnoflow.models.weights import write_weights

EEG = ("EEG_C4", "EEG_C3")


@pytest.fixture
def model() -> NeuroNet:
    torch.manual_seed(0)
    model = neuronet("synth-tiny")
    model(torch.randn(4, 3000))
    return model.eval().requires_grad_(False)


def written(path: Path, model: NeuroNet, **about: Any) -> Path:
    write_weights(
        path,
        model.state_dict(),
        {"kind": "neuronet", "architecture": model.architecture, "sampling_rate": 100, **about},
    )
    return path


def everything(signals: Tensor) -> Tensor:
    return torch.ones(signals.shape[:2], dtype=torch.bool)


def require_frozen(encoder: torch.nn.Module) -> None:
    assert not any(part.training for part in encoder.modules())
    assert not any(p.requires_grad for p in encoder.parameters())


@pytest.mark.parametrize("about", [{}, {"channels": ["EEG_C4"]}])
def test_one_channel(model: NeuroNet, tmp_path: Path, about: dict) -> None:
    """A file of one channel may not list it."""
    encoder, found = load_encoder(written(tmp_path / "e", model, channel="EEG_C4", **about))
    assert found["channels"] == ["EEG_C4"]
    assert (encoder.channels, encoder.dimension) == (("EEG_C4",), 64)
    assert (encoder.samples, encoder.sampling_rate) == (3000, 100)
    require_frozen(encoder)
    signals = torch.randn(3, 1, 3000)
    features = encoder.forward_features(signals, everything(signals))
    assert torch.equal(features, model.forward_features(signals[:, 0]))


def test_channels_of_a_modality_are_averaged(model: NeuroNet, tmp_path: Path) -> None:
    path = written(tmp_path / "e", model, channel="EEG", channels=list(EEG))
    encoder, about = load_encoder(path)
    assert about["channel"] == "EEG"
    assert encoder.channels == EEG
    signals = torch.randn(4, 2, 3000)
    each = torch.stack([model.forward_features(signals[:, c]) for c in range(2)])
    present = everything(signals)
    torch.testing.assert_close(
        encoder.forward_features(signals, present), each.mean(dim=0), rtol=1e-4, atol=1e-5
    )
    present[1, 0] = present[2, 1] = False
    signals[~present] = torch.nan
    wanted = each.mean(dim=0)
    wanted[1], wanted[2] = each[1, 1], each[0, 2]
    torch.testing.assert_close(
        encoder.forward_features(signals, present), wanted, rtol=1e-4, atol=1e-5
    )


def test_a_fusion(model: NeuroNet, tmp_path: Path) -> None:
    fusion = synthsleepnet("tiny", {"EEG_C4": model, "ECG": model}).eval()
    save_synthsleepnet(tmp_path / "e", fusion, {"channel": "all"})
    encoder, about = load_encoder(tmp_path / "e")
    assert (about["channel"], about["channels"]) == ("all", ["EEG_C4", "ECG"])
    assert encoder.channels == ("EEG_C4", "ECG")
    require_frozen(encoder)
    signals = torch.randn(3, 2, 3000)
    present = torch.tensor([[True, True], [False, True], [True, False]])
    assert torch.equal(
        encoder.forward_features(signals, present), fusion.forward_features(signals, present)
    )


def test_all_are_encoders(model: NeuroNet) -> None:
    """One function embeds with either."""

    def size(encoder: Encoder) -> torch.Size:
        signals = torch.randn(2, len(encoder.channels), encoder.samples)
        features = encoder.forward_features(signals, everything(signals))
        assert features.shape == (2, encoder.dimension)
        return features.shape

    assert size(ModalityEncoder(model, channels=EEG)) == (2, 64)
    assert size(synthsleepnet("tiny", {"EEG_C4": model}, encoder_dim=32)) == (2, 32)


def test_wrong_shapes_and_missing_channels_are_named(model: NeuroNet) -> None:
    encoder = ModalityEncoder(model, channels=EEG)
    signals = torch.randn(3, 2, 3000)
    with pytest.raises(ValueError, match=r"presence of shape \(3, 1\)"):
        encoder.forward_features(signals, everything(signals)[:, :1])
    with pytest.raises(ValueError, match=r"signals of shape \(2, 2, 3000\), wanted \(3, 2, 3000\)"):
        encoder.forward_features(signals[:2], everything(signals))
    with pytest.raises(ValueError, match=r"\(6, 2999\), wanted \(B, 3000\)"):
        encoder.forward_features(signals[..., 1:], everything(signals))
    with pytest.raises(ValueError, match="3 of 3 epochs have none of the channels EEG_C4, EEG_C3"):
        encoder.forward_features(signals, ~everything(signals))


def test_weights_that_are_no_numbers_are_named(model: NeuroNet, tmp_path: Path) -> None:
    """Else usable epochs would have embeddings of NaN, without a word."""
    with torch.no_grad():
        model.encoder_norm.weight[3] = torch.nan
    path = written(tmp_path / "e", model, channel="EEG_C4")
    with pytest.raises(WeightsError, match=r"encoder_norm.weight has 1 of 64 values .* not finite"):
        load_encoder(path)


def test_other_files_are_named(model: NeuroNet, tmp_path: Path) -> None:
    write_weights(tmp_path / "e", {}, {"kind": "stager"})
    with pytest.raises(ValueError, match=r"'stager' .* wanted 'neuronet' or 'synthsleepnet'"):
        load_encoder(tmp_path / "e")
