"""Which device computes: decided here and nowhere else."""

import logging
from typing import Literal

import torch

from somnoflow.config.precision import Precision
from somnoflow.training.allocation import keep_memory

Arithmetic = Literal["bf16-mixed", "32-true"]

log = logging.getLogger(__name__)


def choose_device(gpus: int, *, several: bool = False) -> torch.device:
    """Give the GPU when one was granted and is there, else the CPU.

    Parameters
    ----------
    gpus
        GPUs that the workflow granted (`--resources gpu=...`).
    several
        Whether more than one is of use (`choose_processes`), as in pre-training alone.
    """
    if gpus > 1 and not several:
        log.warning("%d GPUs granted, this job uses one: the others stay idle", gpus)
    device = torch.device("cuda" if gpus > 0 and torch.cuda.is_available() else "cpu")
    log.info("computing on the %s", device.type)
    return device


def choose_processes(device: torch.device, *, gpus: int, processes: int) -> int:
    """Give how many processes train one model together.

    Parameters
    ----------
    device
        From `choose_device`.
    gpus
        GPUs granted: on the GPU each that is there gets one process.
    processes
        Processes asked for, for the CPU.
    """
    if device.type == "cpu":
        return processes
    found = torch.cuda.device_count()
    if found < gpus:
        log.warning("%d GPUs granted, %d found", gpus, found)
    return min(gpus, found)


def choose_precision(precision: Precision, *, device: torch.device) -> Arithmetic:
    """Give Lightning's name of the arithmetic that a training is to use.

    Parameters
    ----------
    precision
        `auto` is bfloat16 where the device has it in hardware, else float32.
    device
        Where the training computes.
    """
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(device) else "float32"
        log.info("precision: auto is %s on this %s", precision, device.type)
    return "bf16-mixed" if precision == "bfloat16" else "32-true"


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device multiplies bfloat16 in hardware: most GPUs; CPUs with AMX or AVX-512.

    A CPU without it converts to float32 and back, which is slower than float32 alone.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def prepare(device: torch.device, *, threads: int) -> None:
    """Let torch use `threads` CPU threads and, on the CPU, only what repeats to the bit.

    On a GPU some operations have no such form: results there agree, but not to the bit.
    """
    torch.set_num_threads(threads)
    if device.type == "cpu":
        keep_memory()
        # Not use_deterministic_algorithms, which does the same and imports torch's compiler first.
        torch.set_deterministic_debug_mode("error")
        # This mode also fills new memory with NaN, which costs time and changes no result here.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
