"""`somnoflow convert`: published NeuroNet checkpoints become ours, and back, and compute the same.

The checkpoints are made by `benchmarks/published_neuronet.py`, our own writing of the authors'
class with their names; the weights are random.
"""

import copy
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from somnoflow.cli import main
from somnoflow.models.convert import convert
from somnoflow.models.errors import WeightsError
from somnoflow.models.neuronet import NeuroNet, neuronet
from somnoflow.models.pretrained import load_neuronet
from somnoflow.models.published import published_name, to_neuronet, to_published
from somnoflow.models.weights import write_weights

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PARAMETER = {
    "fs": 100, "second": 30, "time_window": 3, "time_step": 0.375,
    "encoder_embed_dim": 32, "encoder_heads": 4, "encoder_depths": 2,
    "decoder_embed_dim": 16, "decoder_heads": 2, "decoder_depths": 1,
    "projection_hidden": [24, 12], "temperature": 0.05,
}  # fmt: skip


@pytest.fixture(scope="session")
def published() -> nn.Module:
    """The authors' class with small encoder and decoder, and batch norms that saw signals."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        module = importlib.import_module("published_neuronet")
    torch.manual_seed(0)
    model = module.PublishedNeuroNet(**PARAMETER)
    with torch.no_grad():
        for values in model.parameters():
            if values.ndim == 1:  # no bias left 0, no scale left 1
                values.add_(0.1 * torch.randn_like(values))
    model(3 * torch.randn(4, 3000), mask_ratio=0.8)
    return model.eval()


@pytest.fixture
def checkpoint(published: nn.Module) -> dict[str, Any]:
    state = {name: values.clone() for name, values in published.state_dict().items()}
    return {
        "model_name": "NeuroNet",
        "model_state": state,
        "model_parameter": copy.deepcopy(PARAMETER),
        "hyperparameter": {"mask_ratio": 0.7, "alpha": 0.5, "sfreq": 100, "rfreq": 100},
        "paths": {"train_paths": ["a.npz"], "ft_paths": [], "eval_paths": []},
    }


@pytest.fixture
def saved(checkpoint: dict[str, Any], tmp_path: Path) -> Path:
    torch.save(checkpoint, tmp_path / "best_model.pth")
    return tmp_path / "best_model.pth"


def epochs() -> torch.Tensor:
    return 3 * torch.randn(5, 3000, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_embeddings_agree(published: Any, saved: Path, tmp_path: Path) -> None:
    """The deployed feature and CLS, through the files, as every later step reads them."""
    said = convert(saved, tmp_path / "encoder.safetensors", channel="EEG_C4")
    assert "73 frames of 300 samples at 100 Hz, 32 features, for EEG_C4" in said
    model, about = load_neuronet(tmp_path / "encoder.safetensors")
    model.eval()
    assert (about["channel"], about["sampling_rate"]) == ("EEG_C4", 100)
    assert (model.mask_ratio, model.alpha, model.temperature) == (0.7, 0.5, 0.05)
    assert (model.stop_gradient, model.mask_block) == (False, 1)
    theirs = published.forward_latent(epochs())
    torch.testing.assert_close(
        model.forward_features(epochs()), theirs[:, 1:].mean(dim=1), rtol=1e-5, atol=1e-5
    )
    tokens = model.embed_frames(model.make_frames(epochs()))
    ours = model._encode(model.patch_embed(tokens) + model.positions)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_losses_agree_for_the_same_masks(published: Any, checkpoint: dict[str, Any]) -> None:
    """Decoder, projection and both losses; theirs through the (2B, 2B, P) tensor."""
    model, _ = to_neuronet(checkpoint)
    noise = model.draw_noise(5, generator=torch.Generator().manual_seed(2))
    theirs = published(epochs(), mask_ratio=0.7, noise=noise.flatten(0, 1))
    losses = model.eval()(epochs(), noise=noise)
    torch.testing.assert_close(losses.reconstruction, theirs[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(losses.contrastive, theirs[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(losses.total, theirs[0] + 0.5 * theirs[1], rtol=1e-5, atol=1e-5)


def test_there_and_back_is_the_same_bits(
    checkpoint: dict[str, Any], saved: Path, tmp_path: Path
) -> None:
    convert(saved, tmp_path / "encoder.safetensors", channel="EEG_C4")
    said = convert(tmp_path / "encoder.safetensors", tmp_path / "again.pth")
    assert "published checkpoint" in said
    again = torch.load(tmp_path / "again.pth", weights_only=True)
    assert again["model_parameter"] == checkpoint["model_parameter"]
    assert {type(v) for v in again["model_parameter"].values()} == {int, float, list}
    assert again["model_state"].keys() == checkpoint["model_state"].keys()
    for name, values in checkpoint["model_state"].items():
        assert again["model_state"][name].dtype == values.dtype
        assert torch.equal(again["model_state"][name], values), name
    # And once more: the same file of ours.
    convert(tmp_path / "again.pth", tmp_path / "twice.safetensors", channel="EEG_C4")
    first, second = (tmp_path / f"{name}.safetensors" for name in ("encoder", "twice"))
    assert first.read_bytes() == second.read_bytes()


def test_an_encoder_of_ours_loads_into_the_published_class(published: nn.Module) -> None:
    torch.manual_seed(3)
    model = NeuroNet(
        encoder_dim=32, encoder_heads=4, encoder_blocks=2,
        decoder_dim=16, decoder_heads=2, decoder_blocks=1, projection=(24, 12),
    )  # fmt: skip
    theirs = copy.deepcopy(published)
    theirs.load_state_dict(to_published(model)["model_state"])
    model.eval(), theirs.eval()
    with torch.inference_mode():
        torch.testing.assert_close(
            model.forward_features(epochs()),
            theirs.forward_latent(epochs())[:, 1:].mean(dim=1),
            rtol=1e-5, atol=1e-5,
        )  # fmt: skip


@pytest.mark.parametrize(("preset", "tensors"), [("T", 276), ("B", 300)])
def test_layout_of_the_published_presets(preset: str, tensors: int) -> None:
    """Names and shapes as the authors' class lists them."""
    with torch.device("meta"):
        state = to_published(neuronet(preset))["model_state"]
    D, d = {"T": (512, 192), "B": (768, 256)}[preset]
    shapes = {name: tuple(values.shape) for name, values in state.items()}
    assert len(shapes) == tensors
    for name, shape in {
        "frame_backbone.model.conv1.weight": (32, 1, 7),
        "frame_backbone.model.bn1.num_batches_tracked": (),
        "frame_backbone.model.layer3x3_1.0.conv1.weight": (32, 32, 3),
        "frame_backbone.model.layer5x5_3.0.downsample.0.weight": (48, 32, 1),
        "frame_backbone.model.layer7x7_4.0.downsample.1.running_var": (64,),
        "frame_backbone.feature_layer.0.weight": (256, 512),
        "autoencoder.cls_token": (1, 1, D),
        "autoencoder.pos_embed": (1, 74, D),
        "autoencoder.mask_token": (1, 1, d),
        "autoencoder.decoder_pos_embed": (1, 73, d),
        "autoencoder.patch_embed.weight": (D, 256),
        "autoencoder.encoder_block.3.attn.qkv.weight": (3 * D, D),
        "autoencoder.encoder_norm.bias": (D,),
        "autoencoder.decoder_embed.weight": (d, D),
        "autoencoder.decoder_block.0.mlp.fc2.weight": (d, 4 * d),
        "autoencoder.decoder_pred.weight": (256, d),
        "projectors.0.weight": (1024, D),
        "projectors.1.running_mean": (1024,),
        "projectors.3.bias": (512,),
        "projectors_bn.running_var": (512,),
    }.items():
        assert shapes[name] == shape, name


def test_the_benchmark_compares_models_of_the_same_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    step = importlib.import_module("pretraining_step")
    theirs, _ = step.published("tiny")
    ours, _ = step.ours("tiny", device=torch.device("cpu"), precision="float32")
    # Their positions are parameters that are not trained; ours are buffers.
    trained = sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    assert trained == sum(p.numel() for p in ours.parameters())


def test_no_two_tensors_share_a_published_name() -> None:
    with torch.device("meta"):
        names = list(neuronet("T").state_dict())
    assert len({published_name(name) for name in names}) == len(names)


def test_their_step_is_kept_where_rounding_differs(checkpoint: dict[str, Any]) -> None:
    """0.29 s x 100 Hz is 28 samples for the authors and 29 for us."""
    checkpoint["model_parameter"]["time_step"] = 0.29
    for name in ("pos_embed", "decoder_pos_embed"):
        old = checkpoint["model_state"][f"autoencoder.{name}"]
        new = torch.zeros(1, 97 + (name == "pos_embed"), old.shape[2])
        checkpoint["model_state"][f"autoencoder.{name}"] = new
    model, _ = to_neuronet(checkpoint)
    assert (model.step, model.frames) == (28, 97)
    parameter = to_published(model)["model_parameter"]
    assert int(parameter["time_step"] * 100) == 28
    ours = NeuroNet(frame_step=0.29, encoder_dim=32, decoder_dim=16)
    assert ours.step == int(to_published(ours)["model_parameter"]["time_step"] * 100) == 29


def edit(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Give a change of a checkpoint: set what `path` names, or delete it where None."""

    def change(checkpoint: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        for parent in parents:
            checkpoint = checkpoint[parent]
        if value is None:
            del checkpoint[last]
        else:
            checkpoint[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edit("model_state", None), r"4 entries: 1 of 2 are missing \(model_state\)"),
        (edit("model_state", 3), "model_state is a int, wanted a map"),
        (edit("model_parameter/fs", None), r"1 of 12 are missing \(fs\), 0 are unknown"),
        (edit("model_parameter/depth", 3), r"0 of 12 are missing, 1 are unknown \(depth\)"),
        (edit("model_parameter/encoder_heads", 5), "32 cannot be divided among 5 heads"),
        (edit("model_parameter/fs", "100"), "describes no NeuroNet"),
        (edit("model_parameter/time_step", 0.5), r"of 73 frames, .* 55 frames of 300 every 50"),
        (edit("model_parameter/time_window", 2), "frame of 200 samples is too short"),
        (edit("model_parameter/time_window", 4), r"of 73 frames, .* into 71 frames of 400"),
        (edit("model_state/projectors.3.bias", None), r"1 of 252 .* \(projectors.3.bias\)"),
        (edit("model_state/extra", torch.ones(1)), r"253 entries: .* 1 are unknown \(extra\)"),
        (edit("model_state/projectors.3.bias", torch.ones(13)), r"\(13,\), wanted \(12,\)"),
        (edit("model_state/projectors.3.bias", 5), r"is int, wanted \(12,\)"),
        (edit("model_state/projectors.3.bias", torch.full((12,), np.nan)), "12 values not finite"),
        (edit("model_state/autoencoder.pos_embed", torch.ones(1, 74, 32)), "CLS is up to 1,"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit_is_refused_with_numbers(
    checkpoint: dict[str, Any], tmp_path: Path, change: Callable[..., None], said: str
) -> None:
    change(checkpoint)
    torch.save(checkpoint, tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match=said) as error:
        convert(tmp_path / "bad.pth", tmp_path / "out.safetensors", channel="EEG_C4")
    assert str(tmp_path / "bad.pth") in str(error.value)
    assert not list(tmp_path.glob("*out*"))


class Foreign:
    """An object whose pickle names a class, as one that runs code would."""


def test_a_pickle_with_foreign_objects_is_not_loaded(
    checkpoint: dict[str, Any], tmp_path: Path
) -> None:
    checkpoint["extra"] = Foreign()
    torch.save(checkpoint, tmp_path / "foreign.pth")
    with pytest.raises(WeightsError, match=r"Foreign, which could run code .* was not loaded"):
        convert(tmp_path / "foreign.pth", tmp_path / "out.safetensors", channel="EEG_C4")


def test_damaged_files_are_refused(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    encoder = tmp_path / "encoder.safetensors"
    convert(saved, encoder, channel="EEG_C4")
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 0xFF  # in the middle of a tensor
    for content, to, said in [
        (whole[: len(whole) // 2], "o.safetensors", f"{len(whole) // 2} bytes .* interrupted"),
        (bytes(broken), "o.safetensors", "is damaged: .* has another sum"),
        (b"<html>not found</html>", "o.pth", "22 bytes and is neither"),
        (b"", "o.pth", "0 bytes and is neither"),
        (encoder.read_bytes()[:5000], "o.pth", r"is damaged \(.*\): of its 5000 bytes .* copy it"),
    ]:
        file = tmp_path / "damaged"
        file.write_bytes(content)
        with pytest.raises(WeightsError, match=said):
            convert(file, tmp_path / to, channel="EEG_C4")
        assert not list(tmp_path.glob("*o.*"))


@pytest.mark.parametrize("to", ["o.safetensors", "o.pth"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Name\tStage\n" * 50,
        b"0       X X X X",
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80",
    ],
    ids=["empty", "text", "EDF", "torch before 1.6"],
)
def test_what_is_no_weights_is_said_so_whatever_is_wanted_of_it(
    tmp_path: Path, content: bytes, to: str
) -> None:
    """Not that it "would become a published checkpoint", which no --to could help."""
    (tmp_path / "night.edf").write_bytes(content)
    with pytest.raises(WeightsError, match="neither a torch file nor a safetensors file"):
        convert(tmp_path / "night.edf", tmp_path / to, channel="EEG_C4")


def test_nothing_is_overwritten(saved: Path, tmp_path: Path) -> None:
    encoder = tmp_path / "encoder.safetensors"
    encoder.write_bytes(b"days of training")
    with pytest.raises(WeightsError, match=r"encoder\.safetensors is there already"):
        convert(saved, encoder, channel="EEG_C4")
    assert encoder.read_bytes() == b"days of training"


def test_an_encoder_that_the_authors_class_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"channels \[32, 32, 48, 64\].*; found stem 8"):
        to_published(neuronet("tiny"))
    half = NeuroNet(frame_window=2.5, encoder_dim=32, decoder_dim=16)
    with pytest.raises(WeightsError, match=r"time_window is in whole seconds, found 2\.5"):
        to_published(half)
    write_weights(tmp_path / "head.safetensors", {"x": torch.ones(1)}, {"kind": "head"})
    with pytest.raises(WeightsError, match=r"holds 'head' in format 1, wanted 'neuronet'"):
        convert(tmp_path / "head.safetensors", tmp_path / "out.pth")


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["convert", *map(str, arguments)])
    return int(caught.value.code or 0)


def test_command(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = tmp_path / "encoder.safetensors"
    assert command(saved, "--to", encoder, "--channel", "EEG_Fpz") == 0
    assert load_neuronet(encoder)[1]["channel"] == "EEG_Fpz"
    assert command(encoder, "--to", tmp_path / "back.pt") == 0
    assert capsys.readouterr().out.count("\n") == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("{saved}", "--to", "o.safetensors"), "Wanted: --channel, such as --channel EEG_C4"),
     (("{saved}", "--to", "o.pth", "--channel", "EEG_C4"), "ends in .safetensors"),
     (("nothing.pth", "--to", "o.safetensors"), "nothing.pth"),
     (("{saved}", "--to", "o.safetensors", "--channel", "EEG_C5"), "invalid choice: 'EEG_C5'"),
     (("{saved}",), "required: --to")],
)  # fmt: skip
def test_a_mistake_ends_in_one_message(
    saved: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert command(*(word.format(saved=saved) for word in arguments)) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err
