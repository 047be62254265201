"""Random changes of signals while a model is trained; each is a function of signals and generator.

The functions map signals (N, T) to changed copies on the same device. The generator is of that
device and decides all, so a continued training sees the same changes.

Notation: N epochs, T samples of an epoch, B windows, L epochs of a window.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from somnoflow.config.recipe import Augmentation
from somnoflow.tasks import UNKNOWN
from somnoflow.training.supervised import Batch, Vary


def scale_amplitude(signals: Tensor, *, largest: float, generator: torch.Generator) -> Tensor:
    """Multiply each epoch by a factor between 1 - `largest` and 1 + `largest`."""
    return signals * (1 + largest * _symmetric(signals, generator))


def shift_time(signals: Tensor, *, largest: float, generator: torch.Generator) -> Tensor:
    """Shift each epoch by at most `largest` of its length; what leaves it comes in behind."""
    samples = signals.shape[1]
    shift = (_symmetric(signals, generator) * largest * samples).long()
    place = torch.arange(samples, device=signals.device)
    return signals.gather(1, (place - shift) % samples)


def add_noise(signals: Tensor, *, largest: float, generator: torch.Generator) -> Tensor:
    """Add white noise to each epoch, of at most `largest` times the epoch's standard deviation."""
    noise = torch.randn(signals.shape, generator=generator, device=signals.device)
    deviation = signals.std(dim=1, keepdim=True, correction=0)
    return signals + largest * _uniform(signals, generator) * deviation * noise


def stop_band(
    signals: Tensor, *, width: float, sampling_rate: int, generator: torch.Generator
) -> Tensor:
    """Take a band of `width` Hz out of each epoch, anywhere up to half the sampling rate."""
    hertz = torch.fft.rfftfreq(signals.shape[1], 1 / sampling_rate, device=signals.device)
    low = _uniform(signals, generator) * max(0.0, sampling_rate / 2 - width)
    spectrum = torch.fft.rfft(signals)
    stopped = (hertz >= low) & (hertz <= low + width)
    return torch.fft.irfft(spectrum.masked_fill(stopped, 0), n=signals.shape[1])


def mask_stretch(signals: Tensor, *, longest: float, generator: torch.Generator) -> Tensor:
    """Set a stretch of each epoch to zero, at most `longest` of its length."""
    samples = signals.shape[1]
    length = (_uniform(signals, generator) * longest * samples).long()
    begin = (_uniform(signals, generator) * (samples - length + 1)).long()
    place = torch.arange(samples, device=signals.device)
    return signals.masked_fill((place >= begin) & (place < begin + length), 0)


def augment(
    signals: Tensor, *, cfg: Augmentation, sampling_rate: int, generator: torch.Generator
) -> Tensor:
    """Change signals (N, T) as `cfg` says, each epoch by itself; an option at 0 changes nothing."""
    changes: list[tuple[float, Callable[[Tensor], Tensor]]] = [
        (
            cfg.amplitude,
            lambda x: scale_amplitude(x, largest=cfg.amplitude, generator=generator),
        ),
        (cfg.shift, lambda x: shift_time(x, largest=cfg.shift, generator=generator)),
        (cfg.noise, lambda x: add_noise(x, largest=cfg.noise, generator=generator)),
        (
            cfg.band_stop,
            lambda x: stop_band(
                x, width=cfg.band_stop, sampling_rate=sampling_rate, generator=generator
            ),
        ),
        (cfg.mask, lambda x: mask_stretch(x, longest=cfg.mask, generator=generator)),
    ]
    for size, change in changes:
        if size:
            made = _uniform(signals, generator) < cfg.chance
            signals = torch.where(made, change(signals), signals)
    return signals


def augmenting(cfg: Augmentation, *, sampling_rate: int) -> Vary | None:
    """Give what changes the signals of a batch; None where all options are 0.

    Raises
    ------
    ValueError
        When the band is as wide as all that the signal has.
    """
    if cfg.band_stop >= sampling_rate / 2:
        raise ValueError(
            f"augment.band_stop is {cfg.band_stop:g} Hz, wanted less than half the sampling rate: "
            f"at {sampling_rate} Hz a band of {sampling_rate / 2:g} Hz is the whole signal"
        )
    if not any((cfg.amplitude, cfg.shift, cfg.noise, cfg.band_stop, cfg.mask)) or not cfg.chance:
        return None

    def vary(batch: Batch, generator: torch.Generator) -> Batch:
        signals = batch.inputs.clone()
        signals[batch.valid] = augment(
            signals[batch.valid], cfg=cfg, sampling_rate=sampling_rate, generator=generator
        )
        return batch._replace(inputs=signals)

    return vary


class NightRoll:
    """Shift of a night's signal against its epochs (TinySleepNet, EMBC 2020).

    A run has one shift in a pass, which windows that continue take over. The samples of a window
    are shifted from epoch to epoch; those that leave it come in at its other end, and the epoch
    that they come into loses its label in this pass.

    Parameters
    ----------
    largest
        Largest shift, as a part of an epoch. Published: 0.1.
    """

    def __init__(self, largest: float) -> None:
        self._largest = largest
        self._shift = torch.zeros(0, 1)

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Give the batch with signals (B, L, T) shifted."""
        B, L, T = batch.inputs.shape
        drawn = (_symmetric(batch.valid, generator) * self._largest * T).long()  # (B, 1)
        if batch.continues.any():
            drawn = torch.where(batch.continues[:, None], self._shift[:B], drawn)
        self._shift = drawn
        length = batch.valid.sum(dim=1, keepdim=True)  # (B, 1)
        place = torch.arange(L * T, device=drawn.device)
        rolled = (place - drawn) % (length * T)  # what padding gets of it is not looked at
        epoch = torch.arange(L, device=drawn.device)
        wrapped = ((drawn > 0) & (epoch == 0)) | ((drawn < 0) & (epoch == length - 1))
        return batch._replace(
            inputs=batch.inputs.flatten(1).gather(1, rolled).unflatten(1, (L, T)),
            targets=batch.targets.masked_fill(wrapped, UNKNOWN),
        )


def _uniform(rows: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a number between 0 and 1 for each row, (N, 1)."""
    return torch.rand(len(rows), 1, generator=generator, device=rows.device)


def _symmetric(rows: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a number between -1 and 1 for each row, (N, 1)."""
    return 2 * _uniform(rows, generator) - 1
