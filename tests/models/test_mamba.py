"""Mamba and Mamba2 against their recurrence, their gradient and the layout of mamba_ssm."""

import copy
import importlib.util
import io
import math
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from somnoflow.models import selective_scan as scans
from somnoflow.models.mamba import Mamba, Mamba2
from somnoflow.models.selective_scan import KEPT_EVERY, Kernels, chunked_scan, selective_scan

DOUBLE = torch.float64
LENGTHS = [1, 3, KEPT_EVERY, 2 * KEPT_EVERY + 3]
Build = Callable[[], nn.Module]
# Two groups, more heads than groups, and a head that is no power of two.
SMALL = {
    "mamba": lambda: Mamba(6, d_state=3),
    "mamba2": lambda: Mamba2(6, d_state=3, headdim=3, ngroups=2),
}
both = pytest.mark.parametrize("build", SMALL.values(), ids=SMALL.keys())


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """Allow only deterministic operations; memory that nothing wrote is NaN then."""
    torch.manual_seed(1)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def sequences(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=DOUBLE)


def mamba_inputs(B: int, L: int, *, E: int = 5, N: int = 3) -> list[Tensor]:
    x, dt, A = sequences(B, L, E), softplus(sequences(B, L, E)), -sequences(E, N).exp()
    return [part.requires_grad_() for part in (x, dt, A, sequences(B, L, N), sequences(B, L, N))]


def mamba2_inputs(
    B: int, L: int, *, H: int = 4, P: int = 3, G: int = 2, N: int = 3
) -> list[Tensor]:
    x, dt, A = sequences(B, L, H, P), softplus(sequences(B, L, H)), -sequences(H).exp()
    shared = (sequences(B, L, G, N) for _ in range(2))
    return [part.requires_grad_() for part in (x, dt, A, *shared)]


def recurrence(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Step through time with the state (N,) of each sequence and channel by itself."""
    y = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for e in range(x.shape[2]):
            h = torch.zeros_like(A[e])
            for t in range(x.shape[1]):
                h = torch.exp(dt[b, t, e] * A[e]) * h + dt[b, t, e] * x[b, t, e] * B[b, t]
                y[b, t, e] = (C[b, t] * h).sum()
    return y


def recurrence2(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Do so head by head: each is a Mamba whose channels and states share their decay."""
    H, P, N = x.shape[2], x.shape[3], B.shape[3]
    per_group = H // B.shape[2]
    heads = [
        recurrence(
            x[:, :, h],
            dt[:, :, h, None].expand(-1, -1, P),
            A[h].expand(P, N),
            B[:, :, h // per_group],
            C[:, :, h // per_group],
        )
        for h in range(H)
    ]
    return torch.stack(heads, dim=2)


@pytest.mark.parametrize("L", LENGTHS)
def test_selective_scan_is_the_recurrence(L: int) -> None:
    inputs = mamba_inputs(2, L)
    torch.testing.assert_close(selective_scan(*inputs), recurrence(*inputs), rtol=0, atol=1e-10)


@pytest.mark.parametrize("chunk", [1, 4, 32])
@pytest.mark.parametrize("L", LENGTHS)
def test_chunked_scan_is_the_recurrence(L: int, chunk: int) -> None:
    inputs = mamba2_inputs(2, L)
    found = chunked_scan(*inputs, chunk=chunk)
    torch.testing.assert_close(found, recurrence2(*inputs), rtol=0, atol=1e-10)


@pytest.mark.parametrize("L", LENGTHS)
def test_gradient_of_selective_scan(L: int) -> None:
    assert torch.autograd.gradcheck(selective_scan, mamba_inputs(2, L, E=3, N=2))


@pytest.mark.parametrize("L", [1, 7])
def test_gradient_of_chunked_scan(L: int) -> None:
    inputs = mamba2_inputs(2, L, H=2, P=2, G=1, N=2)
    assert torch.autograd.gradcheck(lambda *parts: chunked_scan(*parts, chunk=3), inputs)


def test_gradient_is_that_of_the_recurrence_in_32_bits() -> None:
    inputs = mamba_inputs(2, 30)
    single = [part.detach().float().requires_grad_() for part in inputs]
    recurrence(*inputs).square().sum().backward()
    selective_scan(*single).square().sum().backward()
    for part, exact in zip(single, inputs, strict=True):
        torch.testing.assert_close(part.grad, exact.grad.float(), rtol=1e-4, atol=1e-4)


def test_strong_decay_gives_neither_nan_nor_infinity() -> None:
    x, dt, A, B, C = (part.detach().float() for part in mamba2_inputs(1, 40))
    inputs = [part.requires_grad_() for part in (x, dt * 100, A * 100, B, C)]
    y = chunked_scan(*inputs)
    y.sum().backward()
    torch.testing.assert_close(y, recurrence2(*inputs), rtol=1e-4, atol=1e-3)
    assert all(part.grad is not None and part.grad.isfinite().all() for part in inputs)


@both
def test_gradient_of_the_module(build: Build) -> None:
    module = build().double()
    values = dict(module.named_parameters())

    def apply(sequence: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(
            module, dict(zip(values, parameters, strict=True)), (sequence,)
        )

    assert torch.autograd.gradcheck(apply, (sequences(2, 5, 6).requires_grad_(), *values.values()))


def convolve(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """Let channel e at t see t - 3 to t, with zeros before the first step."""
    y = torch.zeros_like(x)
    for t in range(x.shape[1]):
        for k in range(conv.kernel_size[0]):
            past = t - conv.kernel_size[0] + 1 + k
            if past >= 0:
                y[:, t] += x[:, past] * conv.weight[:, 0, k]
    return y + conv.bias


def test_mamba_is_the_published_block() -> None:
    mamba = Mamba(6, d_state=3).double()
    sequence = sequences(2, 9, 6)
    x, z = (sequence @ mamba.in_proj.weight.T).split(12, dim=-1)
    x = silu(convolve(mamba.conv1d, x))
    dt, B, C = (x @ mamba.x_proj.weight.T).split([1, 3, 3], dim=-1)
    dt = softplus(dt @ mamba.dt_proj.weight.T + mamba.dt_proj.bias)
    y = recurrence(x, dt, -mamba.A_log.exp(), B, C) + mamba.D * x
    expected = (y * silu(z)) @ mamba.out_proj.weight.T
    torch.testing.assert_close(mamba(sequence), expected, rtol=0, atol=1e-10)


def test_mamba2_is_the_published_block() -> None:
    mamba = Mamba2(6, d_state=3, headdim=3, ngroups=2).double()
    nn.init.normal_(mamba.D)
    nn.init.normal_(mamba.norm.weight)
    sequence = sequences(2, 9, 6)
    z, xBC, dt = (sequence @ mamba.in_proj.weight.T).split([12, 24, 4], dim=-1)
    x, B, C = silu(convolve(mamba.conv1d, xBC)).split([12, 6, 6], dim=-1)
    heads = x.reshape(2, 9, 4, 3)
    y = recurrence2(
        heads,
        softplus(dt + mamba.dt_bias),
        -mamba.A_log.exp(),
        B.reshape(2, 9, 2, 3),
        C.reshape(2, 9, 2, 3),
    )
    y = (y + mamba.D[:, None] * heads).reshape(2, 9, 12) * silu(z)
    groups = y.reshape(2, 9, 2, 6)
    root = (groups.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    expected = ((groups / root).reshape(2, 9, 12) * mamba.norm.weight) @ mamba.out_proj.weight.T
    torch.testing.assert_close(mamba(sequence), expected, rtol=0, atol=1e-10)


@both
def test_no_output_depends_on_later_inputs(build: Build) -> None:
    module = build().double()
    sequence = sequences(2, 40, 6)
    whole = module(sequence)
    for length in (1, 8, 33):
        torch.testing.assert_close(module(sequence[:, :length]), whole[:, :length])
    later = sequence.clone()
    later[:, 20:] += 1
    torch.testing.assert_close(module(later)[:, :20], whole[:, :20], rtol=0, atol=0)
    assert not torch.isclose(module(later)[:, 20:], whole[:, 20:]).all(dim=-1).any()


@both
def test_sequences_of_a_batch_do_not_mix(build: Build) -> None:
    module = build().double()
    sequence = sequences(3, 12, 6)
    alone = torch.cat([module(one[None]) for one in sequence])
    torch.testing.assert_close(module(sequence), alone)


@both
def test_input_need_not_be_contiguous(build: Build) -> None:
    module = build().double()
    turned = sequences(6, 11, 2).transpose(0, 2)
    assert not turned.is_contiguous()
    torch.testing.assert_close(module(turned), module(turned.contiguous()))


MAMBA_LAYOUT = {
    "A_log": (64, 16),
    "D": (64,),
    "in_proj.weight": (128, 32),
    "conv1d.weight": (64, 1, 4),
    "conv1d.bias": (64,),
    "x_proj.weight": (34, 64),
    "dt_proj.weight": (64, 2),
    "dt_proj.bias": (64,),
    "out_proj.weight": (32, 64),
}
MAMBA2_LAYOUT = {
    "dt_bias": (4,),
    "A_log": (4,),
    "D": (4,),
    "in_proj.weight": (196, 32),
    "conv1d.weight": (128, 1, 4),
    "conv1d.bias": (128,),
    "norm.weight": (64,),
    "out_proj.weight": (32, 64),
}
BUILDS: list[Build] = [
    lambda: Mamba(32),
    lambda: Mamba2(32, d_state=16, headdim=16, ngroups=2),
]
of_size_32 = pytest.mark.parametrize("build", BUILDS, ids=["mamba", "mamba2"])


@pytest.mark.parametrize(
    ("build", "layout"),
    list(zip(BUILDS, [MAMBA_LAYOUT, MAMBA2_LAYOUT], strict=True)),
    ids=["mamba", "mamba2"],
)
def test_state_has_the_layout_of_mamba_ssm(
    build: Build, layout: dict[str, tuple[int, ...]]
) -> None:
    written, read = build(), build()
    assert {name: tuple(value.shape) for name, value in written.state_dict().items()} == layout
    file = io.BytesIO()
    torch.save(written.state_dict(), file)
    file.seek(0)
    read.load_state_dict(torch.load(file, weights_only=True))
    sequence = torch.randn(2, 5, 32)
    assert torch.equal(read(sequence), written(sequence))


@of_size_32
def test_gradient_reaches_every_parameter(build: Build) -> None:
    module = build()
    module(torch.randn(2, 20, 32)).square().sum().backward()
    for name, value in module.named_parameters():
        assert value.grad is not None, name
        assert value.grad.isfinite().all(), name
        assert value.grad.abs().sum() > 0, name


def test_mamba_starts_as_published() -> None:
    mamba = Mamba(128)
    expected = torch.arange(1.0, 17).log().expand(256, 16)
    torch.testing.assert_close(mamba.A_log.detach(), expected)
    assert torch.equal(mamba.D, torch.ones(256))
    dt = softplus(mamba.dt_proj.bias)
    assert 0.99e-3 <= dt.min() < 2e-3
    assert 5e-2 < dt.max() <= 0.101
    assert dt.log().mean().item() == pytest.approx(math.log(1e-2), abs=0.3)  # log-uniform
    assert mamba.dt_proj.weight.abs().max() <= 8**-0.5
    assert mamba.dt_proj.weight.abs().max() > 0.9 * 8**-0.5
    assert mamba.in_proj.bias is mamba.x_proj.bias is mamba.out_proj.bias is None


def test_mamba2_starts_as_published() -> None:
    mamba = Mamba2(128, headdim=1)
    decay = mamba.A_log.exp()
    assert 1 - 1e-5 <= decay.min() < 2
    assert 15 < decay.max() <= 16 + 1e-5
    assert decay.mean().item() == pytest.approx(8.5, abs=1)
    dt = softplus(mamba.dt_bias)
    assert 0.99e-3 <= dt.min() < 2e-3
    assert 5e-2 < dt.max() <= 0.101
    assert torch.equal(mamba.D, torch.ones(256))
    assert torch.equal(mamba.norm.weight, torch.ones(256))
    assert mamba.in_proj.bias is mamba.out_proj.bias is None


@pytest.mark.parametrize(("d_model", "headdim"), [(512, 64), (16, 32), (48, 32), (9, 2)])
def test_headdim_is_64_where_that_divides(d_model: int, headdim: int) -> None:
    mamba = Mamba2(d_model, d_state=16)
    assert mamba.headdim == headdim
    assert mamba(torch.randn(1, 2, d_model)).shape == (1, 2, d_model)


def test_uneven_heads_and_groups_are_refused() -> None:
    with pytest.raises(ValueError, match=r"headdim 64 does not divide 32 channels .* such as 32"):
        Mamba2(16, headdim=64)
    with pytest.raises(ValueError, match="headdim 0 does not divide"):
        Mamba2(16, headdim=0)
    with pytest.raises(ValueError, match=r"4 heads .* cannot be divided among 3 groups"):
        Mamba2(16, headdim=8, ngroups=3)


@of_size_32
def test_autocast_in_16_bits(build: Build) -> None:
    module = build()
    sequence = torch.randn(2, 24, 32)
    exact = module(sequence)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module(sequence)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, rtol=0.05, atol=0.03)
    found.float().sum().backward()
    for name, value in module.named_parameters():
        assert value.grad is not None, name
        assert value.grad.dtype == torch.float32, name
        assert value.grad.isfinite().all(), name


@pytest.mark.parametrize(
    ("scan", "inputs"),
    [(selective_scan, mamba_inputs), (chunked_scan, mamba2_inputs)],
    ids=["mamba", "mamba2"],
)
def test_scans_are_exact_to_32_bits_for_inputs_of_16(
    scan: Callable[..., Tensor], inputs: Callable[[int, int], list[Tensor]]
) -> None:
    half = [part.detach().bfloat16() for part in inputs(2, 24)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = scan(*half)
    assert found.dtype == torch.float32
    exact = scan(*(part.double() for part in half))
    torch.testing.assert_close(found, exact.float(), rtol=1e-5, atol=1e-5)


@of_size_32
def test_modules_of_16_bits(build: Build) -> None:
    found = build().bfloat16()(torch.randn(1, 5, 32, dtype=torch.bfloat16))
    assert found.dtype == torch.bfloat16
    assert found.isfinite().all()


def test_import_needs_no_kernels() -> None:
    script = (
        "import sys; sys.modules['mamba_ssm'] = None\n"
        "import torch; from somnoflow.models.mamba import Mamba, Mamba2\n"
        "assert Mamba(8)(torch.zeros(1, 3, 8)).shape == (1, 3, 8)\n"
        "assert 'triton' not in sys.modules and not torch.cuda.is_initialized()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.fixture
def asked_again() -> Iterator[None]:
    """Forget before and after whether there were kernels."""
    scans._kernels.cache_clear()
    yield
    scans._kernels.cache_clear()


def test_kernels_are_called_in_the_layout_of_mamba_ssm(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = Kernels(
        selective_scan=lambda u, dt, A, B, C: recurrence(u.mT, dt.mT, A, B.mT, C.mT).mT,
        chunked_scan=lambda x, dt, A, B, C, chunk_size: recurrence2(x, dt, A, B, C),
    )
    inputs, inputs2 = mamba_inputs(2, 7), mamba2_inputs(2, 7)
    expected, expected2 = selective_scan(*inputs), chunked_scan(*inputs2)
    monkeypatch.setattr(scans, "kernels_for", lambda x: kernels)
    torch.testing.assert_close(selective_scan(*inputs), expected)
    torch.testing.assert_close(chunked_scan(*inputs2), expected2)


@pytest.mark.usefixtures("asked_again")
def test_kernels_that_cannot_be_imported_are_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)
    assert scans._kernels() is scans._kernels() is None
    assert caplog.text.count("without the faster kernels of mamba_ssm") == 1


def no_kernels() -> str:
    """Say why the kernels of mamba_ssm cannot be compared, or nothing."""
    if not torch.cuda.is_available():
        return "no CUDA device"
    return "" if importlib.util.find_spec("mamba_ssm") else "mamba_ssm is not installed"


# The kernels of Mamba2 multiply in TF32, with 10 bits of mantissa.
@pytest.mark.skipif(bool(no_kernels()), reason=no_kernels() or "kernels are there")
@pytest.mark.parametrize(
    ("name", "build", "tolerance"),
    [("Mamba", Mamba, 1e-4), ("Mamba2", Mamba2, 5e-3)],
    ids=["mamba", "mamba2"],
)
def test_kernels_of_mamba_ssm_agree(
    name: str, build: Callable[..., nn.Module], tolerance: float
) -> None:
    import mamba_ssm

    torch.use_deterministic_algorithms(False)  # the kernels add gradients in any order
    ours = build(128, d_state=16)
    theirs = getattr(mamba_ssm, name)(128, d_state=16, device="cuda")
    theirs.load_state_dict(ours.state_dict())
    on_gpu = copy.deepcopy(ours).cuda()
    sequence = torch.randn(4, 20, 128)
    results = []
    for module, device in ((ours, "cpu"), (on_gpu, "cuda"), (theirs, "cuda")):
        found = module(sequence.to(device))
        found.square().sum().backward()
        gradients = [value.grad.cpu() for _, value in sorted(module.named_parameters())]
        results.append([found.detach().cpu(), *gradients])
    for other in results[1:]:
        for found, expected in zip(other, results[0], strict=True):
            scale = expected.abs().max().item()
            torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)
