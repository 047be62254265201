"""What the name of a method says: a head on a frozen encoder, or `<tuning>-<context module>`."""


def tuning_of(method: str) -> str:
    """Give how the encoder is tuned; empty where it is frozen."""
    return method.rpartition("-")[0]


def head_of(method: str) -> str:
    """Give the probe or context module."""
    return method.rpartition("-")[2]
