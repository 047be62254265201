"""The shipped stager on a real night from another laboratory, and its features of real samples."""

from pathlib import Path

import edfio
import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

from somnoflow.bundles.bundle import DEFAULT, open_bundle, shipped
from somnoflow.config.dataset import Reading
from somnoflow.models.night_features import SHAPE, NightFeatures
from somnoflow.night import read_night
from somnoflow.scoring.api import score

pytestmark = pytest.mark.real

CODES = {"0": "W", "1": "REM", "2": "N1", "3": "N2", "4": "N3", "5": "N3"}


def test_a_night_of_another_laboratory(real_data: Path) -> None:
    folder = real_data / "ucddb"
    hypnogram = score(folder / "ucddb018.edf", names={"EEG": "EEG_C4"})
    wanted = [CODES[code] for code in (folder / "ucddb018_stage.txt").read_text().split()]
    assert len(hypnogram) == len(wanted) == 822
    assert None not in hypnogram.stages
    # Measured when it was shipped; YASA reaches .813.
    assert cohen_kappa_score(wanted, hypnogram.stages) > 0.7


def test_features_through_the_bundle_are_those_of_the_recorded_samples(real_data: Path) -> None:
    """The table that it was trained on has the features of raw samples in uV at 100 Hz."""
    path = real_data / "sleep-edfx" / "SC4001E0-first300s.edf"
    samples = edfio.read_edf(path).signals[0].data.reshape(10, 3000).copy()
    with open_bundle(shipped()[DEFAULT]) as bundle:
        signals, pack = bundle.about.signals, bundle.about.pack
    night = read_night(
        path,
        channels=["EEG_Fpz"],
        sampling_rate=100,
        reading=Reading(channels={"EEG Fpz-Cz": "EEG_Fpz"}),
        signals=signals,
        pack=pack,
    )
    encoder = NightFeatures()
    [found, wanted] = [
        dict(zip(SHAPE, encoder.forward_features(torch.from_numpy(x)).numpy().T, strict=False))
        for x in (night.read(np.arange(10))[:, 0].astype(float), samples)
    ]
    # What scaling takes for zero is the median of the recording, here of 5 min alone.
    np.testing.assert_allclose(found["zero_crossings"], wanted["zero_crossings"], rtol=0.05)
    for name in SHAPE[5:]:
        np.testing.assert_allclose(found[name], wanted[name], rtol=0.002, err_msg=name)
    for name in SHAPE[:2]:  # the gain is the night's own
        ratio = found[name] / wanted[name]
        np.testing.assert_allclose(ratio, ratio[0], rtol=0.003, err_msg=name)
    for name in SHAPE[2:4]:
        np.testing.assert_allclose(found[name], wanted[name], atol=0.01, err_msg=name)
