"""Low-rank adaptation of frozen layers (arXiv 2106.09685), through peft.

A layer `y = W x` becomes `y = W x + scale B A x` of which only A and B are trained. The scale is
`alpha / sqrt(rank)` (rank-stabilised, arXiv 2312.03732); A begins as Gaussian noise and B as zeros,
so that nothing changes at first.

peft takes seconds to import, so that nothing here imports it before it is used.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

ADAPTER = "default"


def add_lora(
    model: nn.Module, targets: str | Sequence[str], *, rank: int, alpha: float, dropout: float
) -> None:
    """Adapt linear layers of a model, in place; adapters are drawn from torch's own generator.

    The weights of these layers are frozen. All other parameters stay as they are, trained or not.

    Parameters
    ----------
    model
        Without adapters.
    targets
        A regular expression for the whole name of a layer, or ends of names.
    rank
        Rows of A. Published: 4.
    alpha
        Published: 16, in fine-tuning 8.
    dropout
        Before A, while the model trains. Published: 0.05.

    Raises
    ------
    ValueError
        When no layer has such a name, or the model has adapters already.
    """
    from peft import LoraConfig, inject_adapter_in_model  # noqa: PLC0415 - takes seconds

    if any(_adapted(model)):
        raise ValueError("the model has adapters already; fold them in first, with merge_lora")
    trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        lora_dropout=dropout,
        bias="none",
        use_rslora=True,
        init_lora_weights="gaussian",
        target_modules=targets if isinstance(targets, str) else list(targets),
    )
    inject_adapter_in_model(config, model)
    # peft freezes all but the adapters.
    for parameter in model.parameters():
        if id(parameter) in trained:
            parameter.requires_grad_(True)
    for _, layer in _adapted(model):
        frozen = layer.get_submodule("base_layer").requires_grad_(False)
        layer.train(frozen.training)
    for part in lora_dropouts(model):
        part.train(model.training)


def merge_lora(model: nn.Module) -> None:
    """Fold all adapters into their layers, in place: the plain model of the same outputs."""
    for name, layer in list(_adapted(model)):
        layer.merge()  # type: ignore[operator]
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, layer.base_layer)
    if hasattr(model, "peft_config"):
        del model.peft_config


@torch.no_grad()
def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """Give the state that the model would have after `merge_lora`, without changing it."""
    state: dict[str, Tensor] = model.state_dict()
    for name, layer in _adapted(model):
        for key in [key for key in state if key.startswith(f"{name}.lora_")]:
            del state[key]
        for own in ("weight", "bias"):
            if (values := state.pop(f"{name}.base_layer.{own}", None)) is not None:
                state[f"{name}.{own}"] = values
        change = layer.get_delta_weight(ADAPTER)  # type: ignore[operator]
        state[f"{name}.weight"] = state[f"{name}.weight"] + change
    return state


def lora_dropouts(model: nn.Module) -> Iterator[nn.Module]:
    """Give the dropouts of all adapters: what acts in training although its layer is frozen."""
    for _, layer in _adapted(model):
        yield layer.lora_dropout  # type: ignore[misc]


def _adapted(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Give the adapted layers, known by what peft adds to them: without importing it."""
    for name, module in model.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "base_layer"):
            yield name, module
