"""The recurrences of Mamba and Mamba2: in PyTorch on any device, or by the kernels of mamba_ssm.

Both compute, for each channel and from h = 0,

    h_t = exp(dt_t A) h_(t-1) + dt_t B_t x_t,    y_t = C_t . h_t

Mamba (arXiv 2312.00752, algorithm 2) has a decay for each channel and state, Mamba2
(arXiv 2405.21060, section 6) one for each head, which turns most of the work into matrix products.
Outputs before t do not depend on inputs from t on, so padding on the right is harmless.

Notation: B batch, L steps, E channels, N states of a channel, H heads, P channels of a head,
G groups of heads that share B and C, K chunks, Q steps of a chunk.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

log = logging.getLogger(__name__)

# Steps between the states that Mamba's backward pass starts again from: it holds the states and
# decays of that many steps at once, which is little enough for the processor's caches.
KEPT_EVERY = 8
# Q on the CPU. Work inside chunks grows with it, work between them falls; 16 to 64 cost the same.
CHUNK = 32
# Q of mamba_ssm's own Mamba2.
KERNEL_CHUNK = 256


class Kernels(NamedTuple):
    """What mamba_ssm computes the two recurrences with on CUDA."""

    selective_scan: Callable[..., Tensor]
    chunked_scan: Callable[..., Tensor]


def selective_scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Run the recurrence of Mamba.

    Computed in 32 bits, also under autocast, or in 64 where `x` has them.

    Parameters
    ----------
    x
        Inputs (B, L, E).
    dt
        Lengths of the steps (B, L, E), positive.
    A
        Decays (E, N), negative.
    B, C
        How the inputs enter the states and the states the outputs, each (B, L, N).

    Returns
    -------
    Tensor
        y (B, L, E).
    """
    with torch.autocast(x.device.type, enabled=False):
        x, dt, A, B, C = (precise(tensor) for tensor in (x, dt, A, B, C))
        if (kernels := kernels_for(x)) is None:
            y: Tensor = SelectiveScan.apply(x, dt, A, B, C)
            return y
        by_time = (tensor.transpose(1, 2) for tensor in (x, dt))
        return kernels.selective_scan(*by_time, A, B.mT, C.mT).transpose(1, 2)


def chunked_scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, *, chunk: int = CHUNK
) -> Tensor:
    """Run the recurrence of Mamba2: matrix products inside chunks of time, states between them.

    Computed in 32 bits, also under autocast, or in 64 where `x` has them.

    Parameters
    ----------
    x
        Inputs (B, L, H, P).
    dt
        Lengths of the steps (B, L, H), positive.
    A
        Decays (H,), negative.
    B, C
        How the inputs enter the states and the states the outputs, each (B, L, G, N); head h
        takes group h // (H / G).
    chunk
        Q; the result does not depend on it.

    Returns
    -------
    Tensor
        y (B, L, H, P).
    """
    with torch.autocast(x.device.type, enabled=False):
        x, dt, A, B, C = (precise(tensor) for tensor in (x, dt, A, B, C))
        if (kernels := kernels_for(x)) is None:
            return _chunked_scan(x, dt, A, B, C, chunk=min(chunk, x.shape[1]))
        return kernels.chunked_scan(x, dt, A, B, C, KERNEL_CHUNK)


def precise(tensor: Tensor) -> Tensor:
    """Give a tensor in 32 bits or more."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def kernels_for(x: Tensor) -> Kernels | None:
    """Give the kernels of mamba_ssm where they can compute with `x`, else None."""
    return _kernels() if x.is_cuda and x.dtype == torch.float32 else None


@cache
def _kernels() -> Kernels | None:
    try:
        # Here and not above: it needs CUDA to be imported.
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn  # noqa: PLC0415
        from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined  # noqa: PLC0415
    except ImportError as error:
        log.warning("Mamba runs without the faster kernels of mamba_ssm on this GPU: %s", error)
        return None
    return Kernels(selective_scan_fn, mamba_chunk_scan_combined)


class SelectiveScan(torch.autograd.Function):
    """Mamba's recurrence, step by step, with its gradient written out.

    Of the states (B, L, E, N) the forward pass keeps every eighth; the backward pass computes the
    others once more, chunk by chunk from the last. Inside, time comes first and a step is a row
    (B, 1, .), so that each operation runs over channels that lie side by side.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        """Give y (B, L, E) of x, dt, A, B, C."""
        x, dt, A, B, C = inputs
        x, dt, B, C = (_rows(tensor) for tensor in (x, dt, B, C))
        A = A.t().contiguous()  # (N, E)
        L, batch = x.shape[:2]
        u = dt * x
        y = torch.empty_like(x)
        kept = x.new_empty(-(-L // KEPT_EVERY), batch, *A.shape)
        h = x.new_zeros(batch, *A.shape)  # (B, N, E)
        decay = torch.empty_like(h)
        for t in range(L):
            if t % KEPT_EVERY == 0:
                kept[t // KEPT_EVERY] = h
            torch.mul(dt[t], A, out=decay).exp_()
            h.mul_(decay).addcmul_(B[t].mT, u[t])
            torch.bmm(C[t], h, out=y[t])
        ctx.save_for_backward(x, dt, A, B, C, kept)
        return _batch_first(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, ...]:
        """Give the gradients of x, dt, A, B, C."""
        x, dt, A, B, C, kept = ctx.saved_tensors
        L = len(x)
        dy = _rows(dy)
        u = dt * x
        du, ddt, dB, dC = (torch.empty_like(row) for row in (u, dt, B, C))
        steps = min(KEPT_EVERY, L)
        h = kept.new_empty(steps + 1, *kept.shape[1:])  # h[k]: the state before step k
        decay = kept.new_empty(steps, *kept.shape[1:])
        dh = torch.zeros_like(kept[0])  # (B, N, E)
        dA = torch.zeros_like(dh)
        rate = torch.empty_like(dh)
        for start in reversed(range(0, L, KEPT_EVERY)):
            times = range(start, min(start + KEPT_EVERY, L))
            h[0] = kept[start // KEPT_EVERY]
            for k, t in enumerate(times):
                torch.mul(dt[t], A, out=decay[k]).exp_()
                torch.mul(h[k], decay[k], out=h[k + 1]).addcmul_(B[t].mT, u[t])
            for k, t in reversed(list(enumerate(times))):
                dh.addcmul_(C[t].mT, dy[t])
                torch.bmm(dy[t], h[k + 1].mT, out=dC[t])
                torch.bmm(u[t], dh.mT, out=dB[t])
                torch.bmm(B[t], dh, out=du[t])
                dh.mul_(decay[k])
                torch.mul(dh, h[k], out=rate)  # gradient of dt A
                dA.addcmul_(rate, dt[t])
                torch.sum(rate.mul_(A), dim=1, keepdim=True, out=ddt[t])
        ddt.addcmul_(du, x)
        dx = du.mul_(dt)
        return (
            _batch_first(dx), _batch_first(ddt), dA.sum(dim=0).t(), _batch_first(dB),
            _batch_first(dC),
        )  # fmt: skip


def _rows(tensor: Tensor) -> Tensor:
    """Turn (B, L, n) into (L, B, 1, n)."""
    return tensor.transpose(0, 1).contiguous().unsqueeze(2)


def _batch_first(rows: Tensor) -> Tensor:
    """Turn (L, B, 1, n) into (B, L, n)."""
    return rows.squeeze(2).transpose(0, 1)


def _chunked_scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, *, chunk: int) -> Tensor:
    """Compute `chunked_scan`; the gradient is autograd's, whose products are as few."""
    L, H, groups = x.shape[1], x.shape[2], B.shape[2]
    x = _chunks(x * dt[..., None], chunk)  # (B, K, H, Q, P)
    B, C = _chunks(B, chunk), _chunks(C, chunk)  # (B, K, G, Q, N)
    rates = _chunks((dt * A)[..., None], chunk)  # (B, K, H, Q, 1)
    # No cumsum, which has no deterministic form on CUDA, and no product, which may be in TF32.
    earlier = torch.ones(chunk, chunk, dtype=x.dtype, device=x.device).tril()
    passed = (earlier * rates.mT).sum(dim=-1, keepdim=True)  # log of the decay since its start
    between = (passed - passed.mT).masked_fill(earlier == 0, float("-inf")).exp()
    weights = _for_heads(C @ B.mT, H // groups) * between  # (B, K, H, Q, Q)
    y = weights @ x
    if x.shape[1] > 1:
        left = (passed[..., -1:, :] - passed).exp()
        states = _for_heads(B.mT, H // groups) @ (x * left)  # (B, K, H, N, P)
        before = _pass_states(states, passed[..., -1:, :].exp())
        y = y + (_for_heads(C, H // groups) @ before) * passed.exp()
    return y.transpose(2, 3).flatten(1, 2)[:, :L]


def _chunks(tensor: Tensor, chunk: int) -> Tensor:
    """Cut (B, L, H, n) into (B, K, H, Q, n); zeros fill the last chunk."""
    missing = -tensor.shape[1] % chunk
    padded = torch.nn.functional.pad(tensor, (0, 0, 0, 0, 0, missing))
    return padded.unflatten(1, (-1, chunk)).transpose(2, 3)


def _for_heads(tensor: Tensor, heads: int) -> Tensor:
    """Repeat what a group of heads shares: (B, K, G, ., .) to (B, K, H, ., .)."""
    return tensor.repeat_interleave(heads, dim=2)


def _pass_states(states: Tensor, decay: Tensor) -> Tensor:
    """Give the state before each chunk from what each adds (B, K, H, N, P) and its decay."""
    before = [torch.zeros_like(states[:, 0])]
    for k in range(states.shape[1] - 1):
        before.append(before[-1] * decay[:, k] + states[:, k])
    return torch.stack(before, dim=1)
