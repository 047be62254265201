"""SAME padding is TensorFlow's: by hand, and against loops over its documented rule."""

import numpy as np
import pytest
import torch

from somnoflow.models.convolution import Branch, SameConv1d, SameMaxPool1d, same_padding


def reference_padding(n: int, k: int, s: int) -> tuple[int, int]:
    """The rule as TensorFlow's guide writes it down, by the remainder."""
    along = max(k - s, 0) if n % s == 0 else max(k - n % s, 0)
    return along // 2, along - along // 2


def reference(x: np.ndarray, *, k: int, s: int, fill: float, combine) -> np.ndarray:
    left, right = reference_padding(len(x), k, s)
    padded = [fill] * left + list(x) + [fill] * right
    return np.array([combine(padded[i : i + k]) for i in range(0, len(padded) - k + 1, s)])


def convolve(x: list[float], weights: list[float], stride: int) -> list[float]:
    layer = SameConv1d(1, 1, kernel=len(weights), stride=stride)
    layer.weight.data = torch.tensor([[weights]])
    return layer(torch.tensor([[x]])).flatten().tolist()


def test_convolution_by_hand() -> None:
    # 0 1 2, 2 3 4, 4 5 0: one zero at each side of an odd length
    assert convolve([1.0, 2, 3, 4, 5], [1.0, 10, 100], 2) == [210, 432, 54]
    # 1 2 3, 3 4 0: an even length lacks one sample, at the right
    assert convolve([1.0, 2, 3, 4], [1.0, 10, 100], 2) == [321, 43]
    # 1 2, 2 3, 3 0: so does an even kernel
    assert convolve([1.0, 2, 3], [1.0, 10], 1) == [21, 32, 3]
    # a stride longer than the kernel pads nothing
    assert convolve([1.0, 2, 3, 4, 5], [1.0, 10], 3) == [21, 54]


def test_pooling_by_hand() -> None:
    pool = SameMaxPool1d(2)
    assert pool(torch.tensor([[[-1.0, -2.0, -3.0]]])).flatten().tolist() == [-1, -3]
    # _ 1 2 3, 4 5 _ _
    assert SameMaxPool1d(4)(torch.tensor([[[1.0, 2, 3, 4, 5]]])).flatten().tolist() == [3, 5]


def test_the_guides_example() -> None:
    assert same_padding(13, kernel=6, stride=5) == (1, 2)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 29, 30, 63, 100])
@pytest.mark.parametrize(("k", "s"), [(1, 1), (2, 1), (5, 2), (6, 3), (8, 1), (8, 8), (3, 5)])
def test_layers_are_the_reference(n: int, k: int, s: int) -> None:
    rng = np.random.default_rng([n, k, s])
    x, w = rng.normal(size=n).astype(np.float32), rng.normal(size=k).astype(np.float32)
    wanted = reference(x, k=k, s=s, fill=0.0, combine=lambda part: np.dot(part, w))
    assert len(wanted) == -(-n // s)
    np.testing.assert_allclose(convolve(list(x), list(w), s), wanted, rtol=1e-4, atol=1e-5)
    pooled = SameMaxPool1d(s)(torch.from_numpy(x)[None, None]).flatten().numpy()
    np.testing.assert_array_equal(pooled, reference(x, k=s, s=s, fill=-np.inf, combine=max))


@pytest.mark.parametrize("samples", [3000, 2999, 3001, 1920])
def test_a_branch_knows_its_size(samples: int) -> None:
    branch = Branch(
        samples, kernel=50, stride=6, channels=(4, 8), later_kernel=8, pools=(8, 4), dropout=0.0
    )
    assert branch(torch.zeros(2, 1, samples)).shape == (2, branch.dimension)
