"""Random numbers that depend on a seed and a place, not on what was drawn before.

A training that continues at pass 7 draws the same order and the same masks as one that came there
without a stop.
"""

import numpy as np
import torch

# Places: numbers, because a seed sequence takes no text.
WEIGHTS, ORDER, MASKS, VALIDATION, NEIGHBOURS, MODALITIES, DROPOUT, AUGMENTATION = range(8)


def seed_of(seed: int, *place: int) -> int:
    """Give a 64-bit seed of its own for each place."""
    return int(np.random.SeedSequence([seed, *place]).generate_state(1, np.uint64)[0])


def torch_generator(seed: int, *place: int) -> torch.Generator:
    """Give a torch generator on the CPU for a place."""
    return torch.Generator().manual_seed(seed_of(seed, *place))


def numpy_generator(seed: int, *place: int) -> np.random.Generator:
    """Give a numpy generator for a place."""
    return np.random.default_rng(seed_of(seed, *place))
