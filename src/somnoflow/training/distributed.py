"""Several processes that train one model: each has a part of every batch.

What a single process computes over a batch (the mean and variance of a batch norm, the epochs that
the contrastive loss compares) is computed here over the parts of all, so that N processes give the
training of one with the same batch. Gradients are averaged by torch's DistributedDataParallel,
hence a sum over processes in the forward pass has the sum of their gradients as its own.

A process learns which one it is from torchrun's environment variables, whoever sets them: torchrun
on one machine or several, or `launch` for the processes that it starts.
"""

import logging
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from threading import Thread
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.functional import pad

from somnoflow.training.errors import TrainingError

log = logging.getLogger(__name__)

# Seconds that the others get to say why they ended after the first did: the one that is heard
# first may only have lost its connection to the one that knows.
GRACE = 10.0

# What torchrun tells each process. GROUP_RANK, the number of the machine, is told by it too.
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Rank:
    """Which of several processes this is, on as many machines with equally many each."""

    number: int = 0
    of: int = 1
    machines: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and the log."""
        return self.number == 0

    @property
    def here(self) -> int:
        """How many of the processes are on this machine."""
        return self.of // self.machines

    def part(self, size: int) -> slice:
        """Give the places of a batch of `size` that are this process's; `size` divides evenly."""
        each = size // self.of
        return slice(self.number * each, (self.number + 1) * each)


ALONE = Rank()


def joined() -> Rank:
    """Give which of the processes this is that torchrun's variables tell of; else `ALONE`.

    Raises
    ------
    ValueError
        When one of the variables is missing, or the machines have unequally many processes.
    """
    of = int(os.environ.get("WORLD_SIZE", "1"))
    if of == 1:
        return ALONE
    if missing := [name for name in VARIABLES if name not in os.environ]:
        raise ValueError(
            f"WORLD_SIZE is {of}, but {', '.join(missing)} is not set: start the processes with "
            "torchrun, which sets all, or unset WORLD_SIZE to train in one process"
        )
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    if of % here:
        raise ValueError(
            f"{of} processes with {here} of them on this machine, wanted as many on each machine"
        )
    return Rank(int(os.environ["RANK"]), of, machines=of // here)


def require_same(value: str, *, what: str) -> None:
    """Raise `TrainingError` unless all processes have the same value."""
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    if len(set(found)) > 1:
        told = ", ".join(f"{number}: {other}" for number, other in enumerate(found))
        raise TrainingError(
            f"the processes differ in {what} ({told}). They need the same code, options and input "
            "files, and one folder for resuming that all see"
        )


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes, in the backward pass as in the forward one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        del ctx
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradients[0])


def total(x: Tensor) -> Tensor:
    """Give the sum of `x` over all processes, with gradients; `x` itself where there is one."""
    if not dist.is_initialized():
        return x
    result: Tensor = _Sum.apply(x)
    return result


def gather(x: Tensor) -> Tensor:
    """Give all processes' rows (N B, P) from ours (B, P), in their order, with gradients."""
    if not dist.is_initialized():
        return x
    before, after = dist.get_rank(), dist.get_world_size() - dist.get_rank() - 1
    # Zeros where the others' rows are: one kind of exchange, the sum, serves all.
    return total(pad(x.float(), (0, 0, before * len(x), after * len(x))))


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm whose mean and variance in training are those of all processes' values.

    torch's own form of it needs a GPU. State and evaluation are those of torch's batch norm. Each
    process must have the same number of values.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any (N, C, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, ...) per channel; statistics are in float32, also under autocast."""
        if not self.training:
            return super().forward(x)
        dims = [dim for dim in range(x.ndim) if dim != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        values = x.float()
        mean = total(values.sum(dims)) / count
        centred = values - mean.view(shape)
        variance = total(centred.square().sum(dims)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        return (normal * self.weight.view(shape) + self.bias.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None  # noqa: S101 - tells mypy
        assert self.running_var is not None  # noqa: S101
        assert self.num_batches_tracked is not None  # noqa: S101
        assert self.momentum is not None  # noqa: S101
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def synchronise_batch_norms(model: nn.Module, *, device: torch.device) -> None:
    """Let the batch norms of `model` see all processes' values; names in its state stay."""
    for name, child in list(model.named_children()):
        if not isinstance(child, nn.modules.batchnorm._BatchNorm):
            synchronise_batch_norms(child, device=device)
        elif device.type == "cuda":
            setattr(model, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
        else:
            synced = SyncedBatchNorm(child.num_features, eps=child.eps, momentum=child.momentum)
            synced.load_state_dict(child.state_dict())
            for own, other in zip(synced.parameters(), child.parameters(), strict=True):
                own.requires_grad_(other.requires_grad)
            setattr(model, name, synced)


def launch(work: Callable[[Rank], None], *, processes: int) -> None:
    """Run `work` in so many processes and wait for all; with one, run it here.

    Where torchrun has started several, this is one of them and starts no others.

    Messages of the first process are logged here. When one ends before its time, the others are
    ended too: nobody waits for the dead.

    Parameters
    ----------
    work
        Can be pickled.
    processes
        How many.

    Raises
    ------
    ValueError, OSError
        As `work` raised it in one of the processes.
    TrainingError
        When a process was killed.
    RuntimeError
        When a process ended by a defect, whose traceback is on stderr.
    """
    rank = joined()
    if rank.of > 1:
        _join(work, rank)
        return
    if processes == 1:
        work(ALONE)
        return
    log.info("%d processes have a part of every batch each", processes)
    context = mp.get_context("spawn")
    # Where the processes meet: its port is taken from now on, so no other job can have the same.
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    running: dict[Connection, SpawnProcess] = {}
    try:
        for number in range(processes):
            reader, writer = context.Pipe(duplex=False)
            process = context.Process(
                target=_work, args=(work, Rank(number, processes), store.port, writer), daemon=True
            )
            process.start()
            writer.close()  # so that the reader sees the end when the process ends
            running[reader] = process
        _watch(running)
    finally:
        for process in running.values():
            process.kill()
            process.join()


def _join(work: Callable[[Rank], None], rank: Rank) -> None:
    """Be one of the processes that torchrun started."""
    log.info(
        "process %d of %d on %d machines, which meet at %s:%s",
        rank.number + 1, rank.of, rank.machines, os.environ["MASTER_ADDR"],
        os.environ["MASTER_PORT"],
    )  # fmt: skip
    os.environ.setdefault("GROUP_RANK", str(rank.number // rank.here))
    try:
        work(rank)
    except RuntimeError as error:
        if not _is_loss(error):
            raise
        raise TrainingError(
            f"process {rank.number + 1} of {rank.of} lost another one, which says why if it was "
            "not killed. The last finished pass is kept: start again"
        ) from error
    if dist.is_initialized():
        dist.destroy_process_group()


def _is_loss(error: RuntimeError) -> bool:
    """Tell whether the connection to another process broke; gloo has no error of its own."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


def _watch(running: dict[Connection, SpawnProcess]) -> None:
    """Log what the processes say until all have ended; raise where one did so before its time."""
    waiting = list(running)
    errors: list[Exception] = []
    codes: list[int] = []
    while ready := connection.wait(waiting, timeout=GRACE if errors or any(codes) else None):
        for reader in ready:
            assert isinstance(reader, Connection)  # noqa: S101 - tells mypy
            try:
                message = reader.recv()
            except (EOFError, OSError):
                waiting.remove(reader)
                running[reader].join(GRACE)
                codes.append(running[reader].exitcode or 0)
                continue
            if isinstance(message, logging.LogRecord):
                logging.getLogger(message.name).handle(message)
            else:
                errors.append(message)
        if not waiting:
            break
    _raise(errors, codes=codes, processes=len(running))


def _raise(errors: Sequence[Exception], *, codes: Sequence[int], processes: int) -> None:
    if errors:
        raise errors[0]
    # A process that loses another one aborts: that is the cause only where there is no other.
    killed = sorted((code for code in codes if code < 0), key=lambda c: c == -signal.SIGABRT)
    if max(codes) > 0 and killed in ([], [-signal.SIGABRT]):
        raise RuntimeError(f"one of {processes} processes ended with exit code {max(codes)}")
    if killed:
        raise TrainingError(
            f"one of {processes} processes was ended by signal {-killed[0]}, such as for too much "
            "memory, and the others with it. The last finished pass is kept: start again, with "
            "fewer processes where memory was short"
        )


def _work(work: Callable[[Rank], None], rank: Rank, port: int, writer: Connection) -> None:
    """Be one of the processes: tell Lightning and torch which, and the first one what happens."""
    number, of = str(rank.number), str(rank.of)
    os.environ.update(
        RANK=number, WORLD_SIZE=of, LOCAL_RANK=number, LOCAL_WORLD_SIZE=of, GROUP_RANK="0",
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_USE_AGENT_STORE="True",
    )  # fmt: skip
    Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(
        level=logging.INFO if rank.first else logging.ERROR,
        format="%(message)s",  # the rest is added where the record is logged
        handlers=[_Pipe(writer)],
    )
    logging.captureWarnings(True)
    try:
        work(rank)
    except (ValueError, OSError) as error:
        error.add_note(f"In process {rank.number + 1} of {rank.of}:\n{traceback.format_exc()}")
        writer.send(error)
        raise SystemExit(1) from error


def _end_with_parent() -> None:
    """End at once when the parent was killed, also while waiting for another process."""
    parent = parent_process()
    assert parent is not None  # noqa: S101 - tells mypy
    connection.wait([parent.sentinel])
    os._exit(1)


class _Pipe(QueueHandler):
    """Sends log records to the process that started this one."""

    def __init__(self, writer: Connection) -> None:
        super().__init__(SimpleQueue())
        self._writer = writer

    def enqueue(self, record: logging.LogRecord) -> None:
        """Send a record."""
        self._writer.send(record)
