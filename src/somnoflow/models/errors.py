"""What is wrong with a file of weights; apart from the models, so that no torch is imported."""


class WeightsError(ValueError):
    """A file of weights is not what it should be."""
