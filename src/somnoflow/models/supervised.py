"""Supervised models by their names, and as they lie on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from somnoflow.config.supervised import DeepSleepNet as DeepSleepNetRecipe
from somnoflow.config.supervised import Recipe, SupervisedName
from somnoflow.models.deepsleepnet import DeepSleepNet
from somnoflow.models.errors import WeightsError
from somnoflow.models.recurrent import NightModel
from somnoflow.models.seresnet_bilstm import SeResNetBiLstm
from somnoflow.models.tinysleepnet import TinySleepNet
from somnoflow.models.weights import fill, read_about, read_tensors

KIND = "supervised"
MODELS: dict[str, type[NightModel]] = {
    "deepsleepnet": DeepSleepNet,
    "tinysleepnet": TinySleepNet,
    "seresnet_bilstm": SeResNetBiLstm,
}


def build_supervised(
    name: SupervisedName,
    recipe: Recipe,
    *,
    sampling_rate: int,
    samples: int,
    task: str,
    seen: npt.NDArray[np.int64] | None = None,
) -> NightModel:
    """Build a model of a configuration, its initial weights drawn from torch's own generator.

    Parameters
    ----------
    name
        Key of `MODELS`.
    recipe
        Of that model.
    sampling_rate, samples
        Hz, and T of an epoch.
    task
        What is asked, a key of `somnoflow.tasks.TASKS`.
    seen
        Classes that the training epochs have; the others get probability 0. All where None.

    Raises
    ------
    ValueError
        When the sampling rate is too low or the epochs are too short for the model.
    """
    architecture = {
        "sampling_rate": sampling_rate,
        "samples": samples,
        "preset": recipe.preset,
        "dropout": recipe.dropout,
        "window": recipe.window,
        "task": task,
    }
    if isinstance(recipe, DeepSleepNetRecipe):
        architecture["simplified"] = recipe.simplified
    return _build(name, architecture, seen=seen)


def describe_supervised(model: NightModel, about: Mapping[str, Any]) -> dict[str, Any]:
    """Give the description that stands with the weights and that `load_supervised` builds from.

    `about` has at least `channel`, the one that the model was trained on.
    """
    [name] = [name for name, kind in MODELS.items() if type(model) is kind]
    return {
        "kind": KIND,
        "name": name,
        "architecture": model.architecture,
        "channels": [about["channel"]],
        **about,
    }


def load_supervised(path: Path) -> tuple[NightModel, dict[str, Any]]:
    """Rebuild a model in evaluation mode, frozen; give the file's description too.

    Raises
    ------
    ValueError
        When the file is damaged or of another kind, or holds a model that is not known.
    """
    about = read_about(path, kind=KIND)
    if about["name"] not in MODELS:
        raise WeightsError(
            f"{path} holds the model {about['name']!r}, wanted one of {', '.join(MODELS)}: was it "
            "written by a newer Somnoflow?"
        )
    try:
        model = _build(about["name"], about["architecture"], seen=None)
    except TypeError as error:
        raise WeightsError(
            f"{path} describes a {about['name']} that this Somnoflow cannot build ({error}): was "
            "it written by another version?"
        ) from error
    fill(model, read_tensors(path), path=path)
    return model.eval().requires_grad_(False), about


def _build(
    name: str, architecture: Mapping[str, Any], *, seen: npt.NDArray[np.int64] | None
) -> NightModel:
    build: Any = MODELS[name]  # their own arguments differ
    model: NightModel = build(**architecture, seen=seen)
    return model
