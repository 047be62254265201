"""What the processes of test_distributed.py do; imports little, since each imports it anew."""

import logging
import os
import signal
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from somnoflow.models.losses import nt_xent
from somnoflow.training.distributed import (
    Rank,
    gather,
    require_same,
    synchronise_batch_norms,
)


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(1, 3, 4), nn.BatchNorm1d(3), nn.ELU(), nn.Flatten(), nn.Linear(15, 4),
        nn.BatchNorm1d(4),
    )  # fmt: skip


def views() -> torch.Tensor:
    """Two views of 6 epochs with a mean that a process's part alone does not have."""
    noise = torch.randn(2, 6, 1, 8, generator=torch.Generator().manual_seed(3))
    return noise + 5 * torch.arange(6.0)[None, :, None, None]


def step(model: nn.Module, views: torch.Tensor) -> torch.Tensor:
    first, second = (gather(model(view)) for view in views)
    loss = nt_xent(first, second, temperature=0.5)
    loss.backward()
    return loss.detach()


def part_of_a_step(rank: Rank, *, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank.number, world_size=rank.of)
    model = layers()
    synchronise_batch_norms(model, device=torch.device("cpu"))
    loss = step(model, views()[:, rank.part(6)])
    gradients = [parameter.grad for parameter in model.parameters()]
    for gradient in gradients:  # what DistributedDataParallel does
        dist.all_reduce(gradient)
        gradient.div_(rank.of)
    state = {"loss": loss, "state": model.state_dict(), "gradients": gradients}
    torch.save(state, folder / f"{rank.number}.pt")


def differ(rank: Rank) -> None:
    dist.init_process_group("gloo", rank=rank.number, world_size=rank.of)
    require_same(str(3 + rank.number), what="the pass")


def second_is_killed(rank: Rank) -> None:
    """The first waits for ever and is deaf to a polite end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if not rank.first:
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def second_fails(rank: Rank, *, error: type[Exception]) -> None:
    """The first loses its connection, which is what it would tell."""
    logging.getLogger("somnoflow").info("began %d", rank.number)
    dist.init_process_group("gloo", rank=rank.number, world_size=rank.of)
    if not rank.first:
        raise error("the second knows why")
    dist.all_reduce(torch.ones(1))
