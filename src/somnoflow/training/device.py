"""Which device computes: decided here and nowhere else."""

import logging

import torch

log = logging.getLogger(__name__)


def choose_device(gpus: int) -> torch.device:
    """Give the GPU when one was granted and is there, else the CPU.

    Parameters
    ----------
    gpus
        GPUs that the workflow granted (`--resources gpu=...`); one is used at most, because the
        contrastive loss compares all epochs of a batch.
    """
    if gpus > 1 and torch.cuda.is_available():
        log.warning("%d GPUs granted, 1 is used", gpus)
    device = torch.device("cuda" if gpus > 0 and torch.cuda.is_available() else "cpu")
    log.info("computing on the %s", device.type)
    return device


def prepare(device: torch.device, *, threads: int) -> None:
    """Let torch use `threads` CPU threads and, on the CPU, only what repeats to the bit.

    On a GPU some operations have no such form: results there agree, but not to the bit.
    """
    torch.set_num_threads(threads)
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
        # This mode also fills new memory with NaN, which costs time and changes no result here.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
