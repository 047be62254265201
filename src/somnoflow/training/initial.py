"""NeuroNet with its initial weights: where pre-training, and training from scratch, begin."""

import torch

from somnoflow.config.pretrain import Recipe
from somnoflow.models.neuronet import NeuroNet, neuronet
from somnoflow.stages import EPOCH_SECONDS
from somnoflow.training.seeds import WEIGHTS, seed_of


def build_neuronet(cfg: Recipe, *, sampling_rate: int) -> NeuroNet:
    """Build the model of a configuration with the initial weights of its seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(cfg.seed, WEIGHTS))
        return neuronet(
            cfg.preset,
            sampling_rate=sampling_rate,
            epoch_seconds=EPOCH_SECONDS,
            frame_window=cfg.frame_window,
            frame_step=cfg.frame_step,
            mask_ratio=cfg.mask_ratio,
            temperature=cfg.temperature,
            alpha=cfg.alpha,
            stop_gradient=cfg.stop_gradient,
            mask_block=cfg.block_masking,
            objective=cfg.objective,
        )
