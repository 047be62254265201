"""What ends a training."""


class TrainingError(ValueError):
    """Training cannot begin or go on."""
