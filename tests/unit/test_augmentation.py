"""Each augmentation does what it says, to each epoch by itself, and nothing at 0."""

import numpy as np
import pytest
import torch
from torch import Tensor

from somnoflow.config.recipe import Augmentation
from somnoflow.training.augmentation import (
    NightRoll,
    add_noise,
    augment,
    augmenting,
    mask_stretch,
    scale_amplitude,
    shift_time,
    stop_band,
)
from somnoflow.training.supervised import Batch

RATE = 100
ALL = {"amplitude": 0.2, "shift": 0.1, "noise": 0.3, "band_stop": 2.0, "mask": 0.2}


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def signals() -> Tensor:
    return torch.randn(64, 3 * RATE, generator=generator(7))


def batch_of(inputs: Tensor, *, lengths: list[int], continues: list[bool] | None = None) -> Batch:
    valid = torch.arange(inputs.shape[1]) < torch.tensor(lengths)[:, None]
    targets = torch.where(valid, 2, -1)
    flags = torch.tensor(continues or [False] * len(inputs))
    return Batch(inputs, valid, targets, torch.zeros_like(targets), valid, flags)


def test_amplitude_is_multiplied_by_a_factor_of_each_epoch(signals: Tensor) -> None:
    factor = scale_amplitude(signals, largest=0.3, generator=generator()) / signals
    assert torch.allclose(factor, factor[:, :1].expand_as(factor), atol=1e-4)
    assert 0.7 <= factor.min() < 0.8
    assert 1.2 < factor.max() <= 1.3


def test_time_is_shifted_by_at_most_a_part_of_the_epoch() -> None:
    place = torch.arange(200.0).repeat(64, 1)
    shifted = shift_time(place, largest=0.1, generator=generator())
    assert torch.equal(shifted.sort(dim=1).values, place)
    by = shifted.argmin(dim=1)  # where the first sample came
    by = torch.where(by > 100, by - 200, by)
    assert -20 <= by.min() < -10
    assert 10 < by.max() <= 20
    assert torch.equal(shifted[0], place[0].roll(int(by[0])))


def test_noise_is_as_large_as_the_epoch_allows(signals: Tensor) -> None:
    loud = signals * torch.linspace(1, 100, 64)[:, None]
    added = add_noise(loud, largest=0.5, generator=generator()) - loud
    share = added.std(dim=1) / loud.std(dim=1)
    assert share.max() < 0.55
    assert 0.15 < share.mean() < 0.35
    assert abs(np.corrcoef(added[0], loud[0])[0, 1]) < 0.2


def test_a_band_is_taken_out_and_the_others_stay(signals: Tensor) -> None:
    stopped = stop_band(signals, width=5.0, sampling_rate=RATE, generator=generator())
    before, after = torch.fft.rfft(signals).abs(), torch.fft.rfft(stopped).abs()
    lost = after < 1e-3 * before.mean()
    hertz = torch.fft.rfftfreq(signals.shape[1], 1 / RATE)
    lows = []
    for epoch in range(64):
        gone = hertz[lost[epoch]]
        assert gone[-1] - gone[0] <= 5.0 + 1e-4
        assert len(gone) in (15, 16)  # 5 Hz in steps of a third
        assert torch.allclose(after[epoch][~lost[epoch]], before[epoch][~lost[epoch]], atol=1e-3)
        lows.append(float(gone[0]))
    assert min(lows) < 5
    assert max(lows) > 38


def test_a_stretch_is_set_to_zero(signals: Tensor) -> None:
    masked = mask_stretch(signals, longest=0.4, generator=generator())
    zero = masked == 0
    assert torch.equal(masked[~zero], signals[~zero])
    for row in zero:
        places = row.nonzero().ravel()
        assert len(places) == 0 or len(places) == places[-1] - places[0] + 1
    lengths = zero.sum(dim=1)
    assert lengths.max() <= 0.4 * 300
    assert lengths.min() < 30
    assert lengths.max() > 90
    assert zero[:, :60].any()
    assert zero[:, -60:].any()


@pytest.mark.parametrize("name", list(ALL))
def test_each_option_changes_signals_and_not_the_input_and_is_off_at_0(
    name: str, signals: Tensor
) -> None:
    kept = signals.clone()
    cfg = Augmentation(**{name: ALL[name]}, chance=1.0)
    found = augment(signals, cfg=cfg, sampling_rate=RATE, generator=generator())
    assert found.shape == signals.shape
    assert found.dtype == signals.dtype
    changed = (found != signals).any(dim=1)
    assert changed.float().mean() > 0.9
    assert torch.equal(signals, kept)
    again = augment(signals, cfg=cfg, sampling_rate=RATE, generator=generator())
    assert torch.equal(found, again)
    other = augment(signals, cfg=cfg, sampling_rate=RATE, generator=generator(2))
    assert not torch.equal(found, other)
    off = Augmentation(**{name: 0.0}, chance=1.0)
    assert augment(signals, cfg=off, sampling_rate=RATE, generator=generator()) is signals


def test_chance_is_how_many_epochs_are_changed(signals: Tensor) -> None:
    many = signals.repeat(16, 1)
    for chance in (0.0, 0.25, 1.0):
        cfg = Augmentation(amplitude=0.5, chance=chance)
        found = augment(many, cfg=cfg, sampling_rate=RATE, generator=generator())
        changed = (found != many).any(dim=1).float().mean().item()
        assert changed == pytest.approx(chance, abs=0.05)


def test_a_batch_is_changed_in_its_valid_epochs_alone(signals: Tensor) -> None:
    vary = augmenting(Augmentation(**ALL, chance=1.0), sampling_rate=RATE)
    assert vary is not None
    inputs = signals.unflatten(0, (16, 4))
    batch = batch_of(inputs, lengths=[4] * 15 + [2])
    kept = inputs.clone()
    found = vary(batch, generator())
    assert torch.equal(inputs, kept)
    assert torch.equal(found.inputs[-1, 2:], inputs[-1, 2:])
    assert (found.inputs != inputs).any(dim=-1)[batch.valid].all()
    assert torch.equal(found.targets, batch.targets)


def test_nothing_is_changed_where_all_options_are_0() -> None:
    assert augmenting(Augmentation(), sampling_rate=RATE) is None
    assert augmenting(Augmentation(**ALL, chance=0.0), sampling_rate=RATE) is None


def test_a_band_of_the_whole_signal_is_told() -> None:
    with pytest.raises(ValueError, match=r"augment\.band_stop is 50 Hz, wanted less than half"):
        augmenting(Augmentation(band_stop=50.0), sampling_rate=RATE)


# Shift of a night


def test_a_night_is_rolled_over_its_epochs_and_loses_the_label_at_the_border() -> None:
    inputs = torch.arange(32 * 3 * 20.0).reshape(32, 3, 20)
    lengths = [3] * 31 + [2]
    batch = batch_of(inputs, lengths=lengths)
    found = NightRoll(0.4)(batch, generator())
    shifts = []
    for row, length in enumerate(lengths):
        night, rolled = inputs[row, :length].ravel(), found.inputs[row, :length].ravel()
        by = int((rolled == night[0]).nonzero())
        by = by - len(night) if by > 10 else by
        shifts.append(by)
        assert torch.equal(rolled, night.roll(by))
        lost = {1: [0], -1: [length - 1], 0: []}[int(np.sign(by))]
        assert (found.targets[row, :length] == -1).nonzero().ravel().tolist() == lost
    assert min(shifts) < -4
    assert max(shifts) > 4
    assert max(map(abs, shifts)) <= 8


def test_windows_that_continue_are_shifted_alike() -> None:
    inputs = torch.arange(4 * 2 * 50.0).reshape(4, 2, 50)
    roll = NightRoll(0.5)
    seed = generator()
    first = roll(batch_of(inputs, lengths=[2] * 4), seed)
    second = roll(batch_of(inputs[:3], lengths=[2] * 3, continues=[True, False, True]), seed)
    assert torch.equal(first.inputs[[0, 2]], second.inputs[[0, 2]])
    assert not torch.equal(first.inputs[1], second.inputs[1])
    third = roll(batch_of(inputs, lengths=[2] * 4), seed)  # another pass
    assert not torch.equal(first.inputs, third.inputs)
