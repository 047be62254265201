"""YASA's own stager on a real night, through our Parquet part: as good as YASA alone."""

import json
from pathlib import Path

import polars as pl
import pytest
from sklearn.metrics import cohen_kappa_score

from somnoflow.baselines.yasa_features import PROBABILITIES
from somnoflow.commands.parse import parse
from somnoflow.commands.yasa import yasa
from somnoflow.config.baselines import YasaSlice
from somnoflow.config.dataset_file import read_dataset
from somnoflow.config.parse import ParseSlice
from somnoflow.config.signals import Signals

pytestmark = pytest.mark.real

DATASETS = Path(__file__).parents[2] / "workflow" / "datasets"


def test_yasa_scores_a_real_night(real_data: Path, tmp_path: Path) -> None:
    name = "ucddb018"
    entry = {"recording": name, "subject": name, "night": 1, "events": None}
    files = {"signal": f"{name}.edf", "stages": f"{name}_stage.txt"}
    given = {"dataset": "ucddb", "shard": 0, "folder": str(real_data / "ucddb")}
    checked = tmp_path / "checked.json"
    checked.write_text(json.dumps({**given, "recordings": [{**entry, **files}]}))
    reading = read_dataset(DATASETS / "ucddb").reading
    cfg = ParseSlice(
        dataset="ucddb", simulated=False, reading=reading, signals=Signals(channels=["EEG_C4"])
    )
    part, index = tmp_path / "part-0.parquet", tmp_path / "index.json"
    parse(checked=checked, part=part, index=index, cfg=cfg)
    features = tmp_path / "features.parquet"
    yasa(part_index=index, features=features, cfg=YasaSlice(channel="EEG_C4"))
    night = pl.read_parquet(features).filter("usable", pl.col("stage") >= 0)
    assert len(night) == 822
    stages = night["stage"].to_numpy()
    predicted = night.select(PROBABILITIES).to_numpy().argmax(axis=1)
    # YASA alone, from the EDF: accuracy 0.869, kappa 0.813.
    assert (predicted == stages).mean() > 0.85
    assert cohen_kappa_score(stages, predicted) > 0.79
