"""`somnoflow convert`: published SynthSleepNet checkpoints become ours and compute the same.

The checkpoints are made by `benchmarks/published_synthsleepnet.py`, our own writing of the authors'
class with their names, with peft's adapters; the weights are random. The frame backbone has its
published size, so the epochs are short.
"""

import copy
import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from somnoflow.models.convert import convert
from somnoflow.models.encoders import load_encoder
from somnoflow.models.errors import WeightsError
from somnoflow.models.neuronet import neuronet
from somnoflow.models.pretrained import load_neuronet
from somnoflow.models.published import to_neuronet, to_published
from somnoflow.models.published_synthsleepnet import published_name, to_synthsleepnet
from somnoflow.models.synthsleepnet import load_synthsleepnet, save_synthsleepnet, synthsleepnet

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = ["EEG_C4", "EOG_Left", "EMG_Chin"]
CHANNELS = ["EEG_C4", "EOG_L", "EMG_CHIN"]
T = 700
FRAMING = {"fs": 100, "second": 7, "time_window": 3, "time_step": 1}
UNIMODAL = {**FRAMING, "encoder_embed_dim": 32, "encoder_heads": 4, "encoder_depths": 2}
FUSION = {
    "backbone_embed_dim": 32, "num_backbone_frames": 5,
    "encoder_embed_dim": 24, "encoder_heads": 4, "encoder_depths": 2,
    "decoder_embed_dim": 16, "decoder_heads": 2, "decoder_depths": 1,
    "projection_hidden": [16, 8], "temperature": 0.1,
}  # fmt: skip
LORA = {"lora_r": 3, "lora_alpha": 16, "lora_dropout": 0.05}


@pytest.fixture(scope="module")
def written() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("published_synthsleepnet")


def stir(model: nn.Module) -> None:
    """Give a model weights as if it had been trained: no bias or adapter 0, no scale 1."""
    with torch.no_grad():
        for values in model.parameters():
            values.add_(0.05 * torch.randn_like(values))


@pytest.fixture(scope="module")
def published(written: ModuleType) -> nn.Module:
    torch.manual_seed(0)
    lora = {"rank": LORA["lora_r"], "alpha": LORA["lora_alpha"], "dropout": LORA["lora_dropout"]}
    encoders = {
        name: written.adapted(written.NeuroNetEncoder(**UNIMODAL), **lora) for name in NAMES
    }
    model = written.PublishedSynthSleepNet(encoders, **FUSION)
    stir(model)
    model({name: 3 * torch.randn(3, T) for name in NAMES}, mask_ratio=0.4)  # moves batch norms
    return model.eval()


@pytest.fixture
def checkpoint(published: nn.Module) -> dict[str, Any]:
    return {
        "model_name": "SleepFoundationModal",
        "ch_names": list(NAMES),
        "lora_parameter": dict(LORA),
        "unimodal_parameter": dict(UNIMODAL),
        "multimodal_parameter": copy.deepcopy(FUSION),
        "multimodal_model_state": {k: v.clone() for k, v in published.state_dict().items()},
        "hyperparameter": {"mask_ratio": 0.5, "alpha": 0.7, "ch_name2path": {"EEG_C4": "a.pth"}},
        "paths": {"train_paths": ["a"], "val_paths": [], "eval_paths": []},
    }


@pytest.fixture
def saved(checkpoint: dict[str, Any], tmp_path: Path) -> Path:
    torch.save(checkpoint, tmp_path / "best_model.pth")
    return tmp_path / "best_model.pth"


def epochs() -> torch.Tensor:
    return 3 * torch.randn(4, len(NAMES), T, generator=torch.Generator().manual_seed(1))


def by_name(signals: torch.Tensor, names: list[str] = NAMES) -> dict[str, torch.Tensor]:
    return {name: signals[:, NAMES.index(name)] for name in names}


EVERY = torch.ones(4, len(NAMES), dtype=torch.bool)


@torch.inference_mode()
def test_fused_embeddings_agree(published: Any, saved: Path, tmp_path: Path) -> None:
    """Through the files, adapters folded in; also where a channel is missing."""
    said = convert(saved, tmp_path / "encoder.safetensors")
    assert "5 frames of each channel at 100 Hz, 24 features, of EEG_C4, EOG_L, EMG" in said
    model, about = load_encoder(tmp_path / "encoder.safetensors")
    assert about["kind"] == "synthsleepnet"
    assert (about["channels"], about["sampling_rate"]) == (CHANNELS, 100)
    theirs = published.forward_multimodal_embed(by_name(epochs()))
    torch.testing.assert_close(
        model.forward_features(epochs(), EVERY), theirs, rtol=1e-5, atol=1e-5
    )
    present = EVERY.clone()
    present[:, 1] = False
    theirs = published.forward_multimodal_embed(by_name(epochs(), ["EEG_C4", "EMG_Chin"]))
    torch.testing.assert_close(
        model.forward_features(epochs(), present), theirs, rtol=1e-5, atol=1e-5
    )


@torch.inference_mode()
def test_losses_agree_for_the_same_masks(published: Any, checkpoint: dict[str, Any]) -> None:
    """Decoders and projections; theirs with each decoder on its own channel's tokens."""
    model, _ = to_synthsleepnet(checkpoint)
    noise = model.draw_noise(4, generator=torch.Generator().manual_seed(2))
    theirs = published(
        by_name(epochs()), mask_ratio=0.5, noise=dict(zip(NAMES, noise, strict=True))
    )
    losses = model.eval()(epochs(), EVERY, noise=noise)
    torch.testing.assert_close(losses.reconstruction, theirs[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(losses.contrastive, theirs[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(losses.total, theirs[0] + 0.7 * theirs[1], rtol=1e-5, atol=1e-5)


def test_adapters_are_folded_in_and_make_a_difference(
    published: Any, checkpoint: dict[str, Any]
) -> None:
    model, _ = to_synthsleepnet(checkpoint)
    assert not [name for name in model.state_dict() if "lora" in name or "base_layer" in name]
    state = checkpoint["multimodal_model_state"]
    for name in state:
        if ".lora_B." in name:
            state[name].zero_()
    without, _ = to_synthsleepnet(checkpoint)
    with torch.inference_mode():
        one, other = (m.eval().forward_features(epochs(), EVERY) for m in (model, without))
    assert (one - other).abs().max() > 1e-2


def test_the_file_is_one_of_ours(saved: Path, tmp_path: Path) -> None:
    """It is written as a training writes it, and loads for fine-tuning too."""
    convert(saved, tmp_path / "encoder.safetensors")
    model, about = load_synthsleepnet(tmp_path / "encoder.safetensors")
    assert about["architecture"]["mask_ratio"] == 0.5
    save_synthsleepnet(tmp_path / "again.safetensors", model, {"preset": about["preset"]})
    assert (about["preset"], about["best_pass"]) == ("published", None)
    again, _ = load_synthsleepnet(tmp_path / "again.safetensors")
    for name, values in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], values), name


def test_layout_of_the_published_sizes() -> None:
    """Names and shapes as the authors' class lists them."""
    with torch.device("meta"):
        model = synthsleepnet("published", {"ECG": neuronet("synth"), "EOG_R": neuronet("synth")})
    theirs = {"ECG": "ECG", "EOG_R": "EOG_Right"}
    shapes = {
        published_name(name, theirs=theirs): tuple(values.shape)
        for name, values in model.state_dict().items()
        if not name.endswith("cls_position")
    }
    assert len(shapes) == len(model.state_dict()) - 2
    inside = "backbone_networks.EOG_Right.base_model.model"
    for name, shape in {
        f"{inside}.cls_token": (1, 1, 768),
        f"{inside}.frame_backbone.model.layer3x3_1.0.se.fc.0.weight": (4, 64),
        f"{inside}.frame_backbone.feature_layer.0.weight": (3328, 6656),
        f"{inside}.patch_embed.weight": (768, 3328),
        f"{inside}.encoder_block.3.attn.qkv.weight": (2304, 768),
        f"{inside}.encoder_block.3.attn.proj.base_layer.weight": (768, 768),
        f"{inside}.encoder_norm.bias": (768,),
        "backbone_embedded.ECG.0.weight": (512, 768),
        "backbone_embedded.ECG.2.running_mean": (512,),
        "backbone_embedded.ECG.5.bias": (512,),
        "modal_token_dict.EOG_Right": (1, 27, 512),
        "multimodal_encoder_pos_embed": (1, 27, 512),
        "multimodal_encoder_block.3.mlp.fc1.weight": (2048, 512),
        "multimodal_encoder_norm.weight": (512,),
        "decoder_embed.weight": (256, 512),
        "mask_token": (1, 1, 256),
        "multimodal_decoder_pos_embed": (1, 27, 256),
        "multimodal_decoder_block_dict.ECG.2.norm1.weight": (256,),
        "multimodal_decoder_norm.bias": (256,),
        "multimodal_decoder_pred_dict.ECG.weight": (768, 256),
        "backbone_projector_dict.EOG_Right.0.weight": (512, 768),
        "backbone_projector_dict.EOG_Right.1.running_var": (512,),
        "fusion_projector.3.bias": (256,),
    }.items():
        assert shapes[name] == shape, name


def test_the_benchmark_compares_models_of_the_same_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    step = importlib.import_module("fusion_step")
    theirs, ours = step.published("tiny"), step.ours("tiny")
    # Our positions are buffers, and there is no CLS token that nothing uses.
    own = ("multimodal_encoder_pos_embed", "multimodal_decoder_pos_embed", "cls_token")
    sizes = {name: values.numel() for name, values in theirs.named_parameters()}
    assert sum(sizes.values()) - sum(map(sizes.__getitem__, own)) == sum(
        values.numel() for values in ours.parameters()
    )


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


PROJ = "backbone_networks.EEG_C4.base_model.model.encoder_block.0.attn.proj"
POSITIONS = "backbone_networks.EOG_Left.base_model.model.pos_embed"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edit("lora_parameter", None), r"1 of 5 are missing \(lora_parameter\)"),
        (edit("ch_names", "EEG_C4"), "ch_names is 'EEG_C4', wanted a list of channels, of: "),
        (edit("ch_names", ["EEG_C4", "PPG"]), "ch_names has PPG; known are EEG_C4, EEG_C3, EOG_L"),
        (edit("ch_names", ["EMG", "EMG_Chin"]), "ch_names is EMG, EMG_Chin, wanted each .* once"),
        (edit("ch_names", NAMES[:2]), r"multimodal_model_state .* are unknown \(backbone_embedded"),
        (edit("lora_parameter/lora_r", 0), "lora_r is 0, wanted a rank"),
        (edit("lora_parameter/lora_r", 4), r"lora_A.default.weight is \(3, 32\), wanted \(4, 32\)"),
        (edit("lora_parameter/lora_alpha", "16"), "lora_alpha is '16', wanted a number"),
        (edit("unimodal_parameter/fs", None), r"unimodal_parameter .* 1 of 7 .* \(fs\)"),
        (edit("unimodal_parameter/encoder_heads", 5), "unimodal_parameter describes no NeuroNet: .*"
         "32 cannot be divided among 5 heads"),
        (edit("unimodal_parameter/second", 9), r"of 5 frames, but unimodal_parameter .* 7 frames"),
        (edit("unimodal_parameter/encoder_embed_dim", 64), "backbone_embed_dim is 32, but .* 64"),
        (edit("multimodal_parameter/encoder_heads", 5), "multimodal_parameter describes no fusion"),
        (edit("multimodal_parameter/depth", 5), r"multimodal_parameter .* 1 are unknown \(depth\)"),
        (edit("multimodal_model_state", [1]), "multimodal_model_state is a list, wanted a map"),
        (edit("multimodal_model_state/mask_token", None), r"1 of \d+ are missing \(mask_token\)"),
        (edit(f"multimodal_model_state/{PROJ}.base_layer.weight", None),
         r"1 of \d+ are missing .*base_layer.weight"),
        (edit(f"multimodal_model_state/{PROJ}.base_layer.weight", torch.ones(32, 31)),
         r"proj.base_layer.weight is \(32, 31\), wanted \(32, 32\)"),
        (edit(f"multimodal_model_state/{POSITIONS}", torch.ones(1, 28, 32)),
         r"EOG_Left.*pos_embed is \(1, 28, 32\), wanted \(1, 6, 32\)"),
        (edit("multimodal_model_state/mask_token", torch.full((1, 1, 16), torch.nan)),
         "mask_token has 16 values not finite"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit_is_refused_with_numbers(
    checkpoint: dict[str, Any], change: Callable[..., None], said: str
) -> None:
    change(checkpoint)
    with pytest.raises(WeightsError, match=said):
        to_synthsleepnet(checkpoint)


def test_the_file_is_named_and_nothing_is_written(
    checkpoint: dict[str, Any], tmp_path: Path
) -> None:
    torch.save({**checkpoint, "ch_names": []}, tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match="ch_names") as error:
        convert(tmp_path / "bad.pth", tmp_path / "out.safetensors")
    assert str(error.value).startswith(str(tmp_path / "bad.pth"))
    assert not list(tmp_path.glob("*out*"))


class Foreign:
    """An object whose pickle names a class, as one that runs code would."""


def test_foreign_pickles_and_damaged_files_are_not_loaded(
    checkpoint: dict[str, Any], saved: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.pth"
    cut.write_bytes(saved.read_bytes()[:-5000])
    with pytest.raises(WeightsError, match="an interrupted download"):
        convert(cut, tmp_path / "out.safetensors")
    torch.save({**checkpoint, "extra": Foreign()}, tmp_path / "foreign.pth")
    with pytest.raises(WeightsError, match="Foreign, which could run code"):
        convert(tmp_path / "foreign.pth", tmp_path / "out.safetensors")


def test_channel_and_the_way_back_are_refused_with_the_reason(saved: Path, tmp_path: Path) -> None:
    encoder = tmp_path / "encoder.safetensors"
    with pytest.raises(WeightsError, match=r"trained on EEG_C4, EOG_L, EMG_CHIN\. Wanted: no --ch"):
        convert(saved, encoder, channel="EEG_C4")
    assert not encoder.exists()
    convert(saved, encoder)
    with pytest.raises(WeightsError, match="is SynthSleepNet, whose adapters are folded into its"):
        convert(encoder, tmp_path / "back.pth")


@pytest.fixture(scope="module")
def unimodal() -> Mapping[str, Any]:
    """A checkpoint of one of SynthSleepNet's encoders before the fusion."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        neuronets = importlib.import_module("published_neuronet")
        sizes = importlib.import_module("published_synthsleepnet").SIZES
    parameter = {
        **UNIMODAL, "decoder_embed_dim": 16, "decoder_heads": 2, "decoder_depths": 1,
        "projection_hidden": [16, 8], "temperature": 0.05,
    }  # fmt: skip
    torch.manual_seed(4)
    model = neuronets.PublishedNeuroNet(**copy.deepcopy(parameter), sizes=dict(sizes))
    stir(model)  # positions too: they are trained
    model(3 * torch.randn(3, T), mask_ratio=0.5)
    return {"model": model.eval(), "parameter": parameter}


def test_unimodal_checkpoints_are_known_by_their_squeeze(
    unimodal: Mapping[str, Any], tmp_path: Path
) -> None:
    theirs = unimodal["model"]
    checkpoint = {
        "model_name": "NeuroNet-EOG", "model_state": theirs.state_dict(),
        "model_parameter": unimodal["parameter"], "hyperparameter": {"mask_ratio": 0.5},
    }  # fmt: skip
    torch.save(checkpoint, tmp_path / "best_model.pth")
    convert(tmp_path / "best_model.pth", tmp_path / "encoder.safetensors", channel="EOG_L")
    model, _ = load_neuronet(tmp_path / "encoder.safetensors")
    assert (model.architecture["squeeze"], model.architecture["trainable_positions"]) == (16, True)
    model.eval()
    signals = epochs()[:, 0]
    with torch.inference_mode():
        torch.testing.assert_close(
            model.encode_tokens(model.embed_frames(model.make_frames(signals))),
            theirs.forward_latent(signals), rtol=1e-5, atol=1e-5,
        )  # fmt: skip
        noise = model.draw_noise(4, generator=torch.Generator().manual_seed(2))
        losses = theirs(signals, mask_ratio=0.5, noise=noise.flatten(0, 1))
        torch.testing.assert_close(model(signals, noise=noise)[1:], losses, rtol=1e-5, atol=1e-5)
    convert(tmp_path / "encoder.safetensors", tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert back["model_parameter"] == unimodal["parameter"]
    assert back["model_state"].keys() == checkpoint["model_state"].keys()
    for name, values in checkpoint["model_state"].items():
        assert torch.equal(back["model_state"][name], values), name


def test_squeezed_encoders_of_other_sizes_have_no_published_form() -> None:
    with pytest.raises(WeightsError, match=r"channels \[64, 128, 128, 256\].*; found stem 8"):
        to_published(neuronet("synth-tiny"))


def test_an_unfitting_squeeze_is_named(unimodal: Mapping[str, Any]) -> None:
    state = dict(unimodal["model"].state_dict())
    name = "frame_backbone.model.layer5x5_2.0.se.fc.2.weight"
    state[name] = state[name][:, :-1]
    with pytest.raises(WeightsError, match=r"se\.fc\.2\.weight is \(128, 7\), wanted \(128, 8\)"):
        to_neuronet({"model_state": state, "model_parameter": unimodal["parameter"]})
