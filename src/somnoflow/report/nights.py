"""Which test recordings the report draws as hypnograms, and their pictures."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from somnoflow.evaluate.confusion import agreement, scan_test_epochs
from somnoflow.evaluate.predictions import RECORDING_KEY
from somnoflow.report.figures import Picture, hypnogram
from somnoflow.report.naming import anchored
from somnoflow.report.results import spread, spread_rule
from somnoflow.report.sources import Cohort, Model
from somnoflow.report.tables import Table, make_table, plural, score

MAX_MODELS = 3
MAX_COLUMNS = 12


@dataclass(frozen=True)
class Night:
    """The hypnograms of one recording by some models."""

    title: str
    anchor: str
    pictures: list[Picture]


def choose_recordings(models: list[Model], wanted: int) -> tuple[pl.DataFrame, str]:
    """Choose test recordings from the worst to the best, and say how.

    Recordings are ranked by their kappa (mean over the models; recordings without a kappa come
    first) and taken at even steps of rank, so that poor nights are shown as well as good ones.

    Returns
    -------
    tuple
        Key columns of the chosen recordings in the order of rank with `kappa`, and the rule in
        words.
    """
    tables = [
        model.counted.table.select(RECORDING_KEY).with_columns(
            kappa=pl.Series(agreement(model.counted.confusion).kappa).fill_nan(None)
        )
        for model in models
        if model.counted is not None
    ]
    if not tables or not wanted:
        empty = pl.DataFrame(schema=[*RECORDING_KEY, "kappa"])
        return empty, "No hypnograms: " + (
            "the configuration asks for none." if tables else "no predictions were given."
        )
    ranked = (
        pl.concat(tables)
        .group_by(RECORDING_KEY)
        .agg(pl.col("kappa").mean())
        .sort("kappa", *RECORDING_KEY, nulls_last=False)
    )
    if ranked.height <= wanted:
        return ranked, (
            f"All {plural(ranked.height, 'test recording')}, from the lowest kappa to the highest "
            "(mean over the models)."
        )
    places = np.unique(np.linspace(0, ranked.height - 1, wanted).round().astype(int))
    return ranked[places], (
        f"{len(places)} of {ranked.height:,} test recordings, at even steps of rank from the "
        "lowest kappa (mean over the models) to the highest: poor nights are shown as well as "
        "good ones."
    )


def anchor_of(key: tuple[str, ...]) -> str:
    """Give the id of a recording's hypnograms on the page."""
    return "night-" + anchored("-".join(key))


def kappa_table(models: list[Model], drawn: pl.DataFrame, *, simulated: str) -> Table | None:
    """Put each test recording's kappa by each model into one table, the worst recording first.

    Parameters
    ----------
    models
        Models of stages; of many at most `MAX_COLUMNS` have a column, the mean is over all.
    drawn
        Key columns of the recordings whose hypnograms are drawn, to which the table links.
    simulated
        Badge of the caption.

    Returns
    -------
    Table or None
        None without predictions.
    """
    counted = {m.name: m.counted for m in models if m.counted is not None}
    if not counted:
        return None
    kappas = {
        name: dict(zip(c.table.select(RECORDING_KEY).rows(), agreement(c.confusion).kappa.tolist(),
                       strict=True))
        for name, c in counted.items()
    }  # fmt: skip
    ranked, _ = choose_recordings(models, sum(len(one) for one in kappas.values()))
    shown = [m.name for m in spread([m for m in models if m.name in counted], MAX_COLUMNS)]
    pictured = set(drawn.select(RECORDING_KEY).rows())
    titles = [name.title for name in shown]
    keys = ranked.select(RECORDING_KEY).rows()
    rows = [
        [key[2], key[1], score(mean), *(score(kappas[name].get(key)) for name in shown)]
        for key, mean in zip(keys, ranked["kappa"], strict=True)
    ]
    return make_table(
        f"Kappa of {plural(len(rows), 'test recording')} by each model, the recording with the "
        f"lowest mean first.{spread_rule(len(shown), len(counted))} A name that is a link leads to "
        "the hypnograms; accuracy and macro F1 are in the tables of each model.",
        columns=["Recording", "Subject", "Mean", *titles],
        numeric=["Mean", *titles],
        rows=rows,
        simulated=simulated,
        links=[(anchor_of(key), "/".join(key)) if key in pictured else None for key in keys],
    )


def choose_models(models: list[Model]) -> tuple[list[Model], str]:
    """Choose the models whose hypnograms are drawn, and say how; all where they are few."""
    predicted = [model for model in models if model.predictions]
    if len(predicted) <= MAX_MODELS:
        return predicted, ""
    chosen = spread(predicted, MAX_MODELS)
    return chosen, spread_rule(len(chosen), len(predicted))


def nights(models: list[Model], chosen: pl.DataFrame, cohort: Cohort) -> list[Night]:
    """Draw the chosen recordings, each by every one of the models."""
    drawn: dict[tuple[str, ...], list[Picture]] = {key: [] for key in chosen.drop("kappa").rows()}
    for model in models:
        for path in model.predictions:
            if not drawn:
                continue
            keys = chosen.lazy().select(RECORDING_KEY)
            rows_of_chosen = scan_test_epochs(path).join(keys, on=RECORDING_KEY, how="semi")
            epochs = rows_of_chosen.collect().sort("epoch")
            for key, rows in epochs.group_by(RECORDING_KEY, maintain_order=True):
                dataset, subject, recording = (str(part) for part in key)
                badge = "simulated" if cohort.is_simulated(dataset, recording) else ""
                drawn[dataset, subject, recording].append(
                    hypnogram(rows, recording=recording, model=model.name.title, simulated=badge)
                )
    kappas = dict(zip(drawn, chosen["kappa"].to_list(), strict=True))
    return [
        Night(
            f"{key[2]} (subject {key[1]}; mean kappa {score(kappas[key])})",
            anchor_of(key),
            pictures,
        )
        for key, pictures in drawn.items()
    ]
