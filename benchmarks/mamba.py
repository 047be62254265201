"""Speed of our Mamba and Mamba2 on the CPU, with mambapy as the baseline.

Measured: milliseconds of a forward and a backward pass of a layer on random sequences, and of the
recurrence alone, which is what a layer adds to its linear maps; and the MiB that the forward pass
keeps for the backward pass. Against: mambapy's block, which holds the same parameters and computes
a parallel scan in PyTorch (its Mamba2 needs the kernels of mamba_ssm, so the baseline is its Mamba
in every row). All take turns; the fastest of the repeats counts. That both compute the same is
checked before.

Usage: ``python benchmarks/mamba.py [--batch 32] [--lengths 20 200] [--dim 256] [--threads 1]
[--repeats 9]``
"""

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from mambapy.mamba import MambaBlock, MambaConfig
from mambapy.pscan import pscan
from torch import Tensor
from torch.nn.functional import softplus

from measuring import line, table
from somnoflow.models.mamba import Mamba, Mamba2
from somnoflow.models.selective_scan import chunked_scan, selective_scan
from somnoflow.training.device import prepare

STATE = 16
HEADDIM = 64
Layer = Callable[..., Tensor]


def layers(dim: int) -> dict[str, Layer]:
    """Build the layers, mambapy's first; the two Mambas have the same parameters."""
    baseline, ours = MambaBlock(MambaConfig(dim, n_layers=1)), Mamba(dim, d_state=STATE)
    ours.load_state_dict(baseline.state_dict())
    sequence = torch.randn(2, 20, dim)
    torch.testing.assert_close(ours(sequence), baseline(sequence))
    return {
        "mambapy, layer": baseline,
        "`Mamba`": ours,
        "`Mamba2`": Mamba2(dim, d_state=STATE, headdim=HEADDIM),
    }


def parallel_scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Compute the recurrence as mambapy does."""
    decay = (dt[..., None] * A).exp()
    entering = dt[..., None] * B[:, :, None] * x[..., None]
    return (pscan(decay, entering) @ C[..., None]).squeeze(-1)


def heads_scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Compute Mamba2's recurrence on the same inputs: a head takes its first channel's decay."""
    heads = x.unflatten(-1, (-1, HEADDIM))
    steps, decay = dt[..., ::HEADDIM], A[::HEADDIM, 0]
    return chunked_scan(heads, steps, decay, B[:, :, None], C[:, :, None]).flatten(2)


def scans() -> dict[str, Layer]:
    """Give the recurrences, mambapy's first, and check that ours are right."""
    inputs = scan_inputs(2, 20, 2 * HEADDIM)
    torch.testing.assert_close(selective_scan(*inputs), parallel_scan(*inputs))
    x, dt, A, *others = inputs
    shared = dt[..., ::HEADDIM].repeat_interleave(HEADDIM, dim=-1), A[:, :1].expand_as(A)
    torch.testing.assert_close(heads_scan(*inputs), parallel_scan(x, *shared, *others))
    return {
        "mambapy, scan": parallel_scan,
        "`selective_scan`": selective_scan,
        "`chunked_scan`": heads_scan,
    }


def scan_inputs(batch: int, length: int, channels: int) -> list[Tensor]:
    """Draw x, dt, A, B, C as at the beginning of a training."""
    x = torch.randn(batch, length, channels)
    dt = softplus(torch.randn(batch, length, channels) - 4)
    A = -torch.arange(1.0, STATE + 1).repeat(channels, 1)
    B, C = torch.randn(2, batch, length, STATE)
    return [part.requires_grad_() for part in (x, dt, A, B, C)]


def milliseconds(layer: Layer, inputs: Sequence[Tensor]) -> float:
    """Measure one forward and backward pass."""
    begin = time.perf_counter()
    output = layer(*inputs)
    output.backward(torch.ones_like(output))
    return 1000 * (time.perf_counter() - begin)


def kept_mib(layer: Layer, inputs: Sequence[Tensor]) -> float:
    """Measure what the forward pass keeps, beside inputs and parameters that are there anyway."""
    there = {part.untyped_storage().data_ptr() for part in inputs}
    if isinstance(layer, torch.nn.Module):
        there |= {value.untyped_storage().data_ptr() for value in layer.parameters()}
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in there:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        output = layer(*inputs)
    del output
    return sum(kept.values()) / 2**20


def measure(compared: dict[str, Layer], inputs: Sequence[Tensor], *, repeats: int) -> list[tuple]:
    """Let the layers take turns; give name, milliseconds and MiB with their ratios to the first."""
    for layer in compared.values():
        milliseconds(layer, inputs)  # warm up
    turns = [[milliseconds(layer, inputs) for layer in compared.values()] for _ in range(repeats)]
    fastest = [min(times) for times in zip(*turns, strict=True)]
    kept = [kept_mib(layer, inputs) for layer in compared.values()]
    return [
        (name, f"{ms:.1f}", f"{fastest[0] / ms:.1f}", f"{mib:.1f}", f"{kept[0] / mib:.1f}")
        for name, ms, mib in zip(compared, fastest, kept, strict=True)
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lengths", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    torch.manual_seed(1)
    blocks, recurrences = layers(arguments.dim), scans()
    print(
        table(
            (
                "threads", "L", "what", "forward + backward, ms", "times as fast as mambapy",
                "kept for backward, MiB", "mambapy's, times",
            )
        )
    )  # fmt: skip
    for threads in arguments.threads:
        prepare(torch.device("cpu"), threads=threads)
        for length in arguments.lengths:
            sequence = torch.randn(arguments.batch, length, arguments.dim, requires_grad=True)
            inputs = scan_inputs(arguments.batch, length, 2 * arguments.dim)
            for compared, given in ((blocks, [sequence]), (recurrences, inputs)):
                for row in measure(compared, given, repeats=arguments.repeats):
                    print(line((threads, length, *row)), flush=True)


if __name__ == "__main__":
    main()
