"""Put a trained model, and all that is needed to use and to judge it, into one zip file."""

from somnoflow.config.bundle import BundleSlice
from somnoflow.entry import Input, Inputs, Output, command


def bundle(
    *,
    model: Inputs,
    predictions: Input,
    metrics: Input,
    calibration: Input,
    recordings: Input,
    split: Input,
    bundle: Output,
    cfg: BundleSlice,
) -> None:
    """Write a bundle: weights, model.json and a model card."""
    raise NotImplementedError


if __name__ == "__main__":
    command(bundle)
