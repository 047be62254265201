"""Grad-CAM: which parts of an epoch speak for a class (arXiv 1610.02391).

The channels of the last convolutional map are weighted by the mean gradient of the class's logit
and summed. A model with several branches has several such maps: what each cell says is spread over
the samples that it stands for, and the sum over branches is the heat.

Notation: C channels of a signal, T samples of an epoch, F frames, n cells of a map, K classes.
"""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from somnoflow.explain.maps import feature_maps
from somnoflow.explain.model import EncoderModule
from somnoflow.explain.timing import Values, lay_out


def grad_cam(
    logits: Callable[[Tensor], Tensor],
    signals: Tensor,
    present: Tensor,
    *,
    encoder: EncoderModule,
    target: int,
) -> Values:
    """Give the heat (C, T) of an epoch: positive where it speaks for a class, not yet scaled.

    Parameters
    ----------
    logits
        Gives the logits (1, K) of signals (1, C, T), by way of `encoder`.
    signals
        (1, C, T).
    present
        (1, C), which channels are there; the heat of the others is 0.
    encoder
        In evaluation mode.
    target
        Class.
    """
    # Captum takes a second to import.
    from captum.attr import LayerGradCam  # noqa: PLC0415

    heat = np.zeros(tuple(signals.shape[1:]))
    # Weights are frozen: what is recorded for the way back begins at the signal.
    inputs = signals.clone().requires_grad_()
    there = tuple(present[0].nonzero().squeeze(1).tolist())
    for part in feature_maps(encoder, there=there):
        found = LayerGradCam(logits, part.layer).attribute(inputs, target=target)
        for channel, own in zip(part.channels, found.detach(), strict=True):
            values = own.double().numpy().reshape(-1, own.shape[-1])  # (F, n)
            heat[channel] += lay_out(values, part.cells, samples=heat.shape[1]) / part.cells.step
    return heat
