"""The shipped stager on a real night from a laboratory that it has not seen."""

from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score

from somnoflow.bundles.bundle import DEFAULT, shipped
from somnoflow.scoring.api import score

pytestmark = pytest.mark.real

CODES = {"0": "W", "1": "REM", "2": "N1", "3": "N2", "4": "N3", "5": "N3"}


@pytest.mark.skipif(DEFAULT not in shipped(), reason="no bundle is shipped")
def test_a_night_of_another_laboratory(real_data: Path) -> None:
    folder = real_data / "ucddb"
    hypnogram = score(folder / "ucddb018.edf", names={"EEG": "EEG_C4"})
    wanted = [CODES[code] for code in (folder / "ucddb018_stage.txt").read_text().split()]
    assert len(hypnogram) == len(wanted) == 822
    assert None not in hypnogram.stages
    # Measured when it was shipped; YASA reaches .813.
    assert cohen_kappa_score(wanted, hypnogram.stages) > 0.7
