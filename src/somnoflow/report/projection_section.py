"""The embedding of an epoch, as pictures: two principal components beside t-SNE."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from somnoflow.data.projection import LEAST, PCA_COLUMNS, TSNE_COLUMNS, Projected, read_projection
from somnoflow.report.figures import COLOURS, STYLE, Picture, draw_dots, make_picture
from somnoflow.report.label_figure import PALETTE
from somnoflow.report.naming import Source
from somnoflow.report.sources import FOLD
from somnoflow.report.tables import plural
from somnoflow.stages import STAGE_NAMES

# Diameters of dots in points.
SMALL, LARGE = 3.0, 5.0
FEW_DOTS = 300
LAYERS = 12
ALPHA = 0.8
HOW_TO_READ = (
    "Principal components are the two directions in which the embeddings differ most; distances in "
    "them are distances of the embeddings, as far as two directions tell them. "
    "t\N{NON-BREAKING HYPHEN}SNE keeps epochs beside each other that are alike, and nothing else: "
    "how far apart its clusters lie, how large they are, and where they lie mean nothing. No stage "
    "was used to place the dots. Where dots part by stage, the embedding tells stages apart; where "
    "they part by subject, it tells people apart."
)


@dataclass(frozen=True)
class Projection:
    """What was embedded, whose test subjects are shown, and where their epochs lie."""

    source: Source
    fold: str
    projected: Projected


@dataclass(frozen=True)
class ProjectionPanel:
    """What the page shows about one embedding."""

    title: str
    sentence: str
    pictures: list[Picture]


def read_projections(paths: Iterable[Path]) -> list[Projection]:
    """Read `<encoder>/<channel>/fold=<k>/projection.parquet` of each embedding.

    Raises
    ------
    ValueError
        Where a path names no embedding, or the file is no such table.
    """
    found = []
    for path in paths:
        if len(path.parts) < 4 or not path.parent.name.startswith(FOLD):
            raise ValueError(
                f"{path} is not in a folder <encoder>/<channel>/{FOLD}<k>, so it is not known what "
                "was embedded. Give files as the workflow lays them out."
            )
        source, fold = Source(*path.parts[-4:-2]), path.parent.name.removeprefix(FOLD)
        found.append(Projection(source, fold, read_projection(path)))
    return sorted(found, key=lambda one: (one.source.order, one.fold))


def projection_panels(found: Sequence[Projection], *, simulated: str) -> list[ProjectionPanel]:
    """Make two pictures of each embedding: coloured by stage, and by subject."""
    return [
        ProjectionPanel(
            title=one.source.title,
            sentence=_sentence(one),
            pictures=_pictures(one, simulated=simulated) if one.projected.table.height else [],
        )
        for one in found
    ]


def _sentence(one: Projection) -> str:
    table, of = one.projected.table, one.projected.about["of"]
    whose = f"the test subjects of fold {one.fold}, on whom nothing was trained or chosen"
    if not table.height:
        return (
            f"No picture: {plural(of, 'epoch')} with a stage and an embedding, of {whose}; "
            f"wanted at least {LEAST}."
        )
    recordings = table.select("dataset", "subject", "recording").n_unique()
    drawn = f"All {of:,}" if table.height == of else f"{table.height:,} of {of:,}"
    rule = "" if table.height == of else ", as many of each recording as can be"
    told = (
        f"{drawn} epochs with a stage and an embedding, of {whose}: "
        f"{plural(recordings, 'recording')} of {plural(table['subject'].n_unique(), 'subject')}"
        f"{rule}."
    )
    if not any(one.projected.about["explained_variance"]):
        told += " All embeddings are the same: the encoder tells no epochs apart."
    return told


def _pictures(one: Projection, *, simulated: str) -> list[Picture]:
    table, title = one.projected.table, one.source.title
    n = f"{table.height:,}"
    stage = table["stage"].to_numpy()
    counts = ", ".join(f"{name} {(stage == k).sum():,}" for k, name in enumerate(STAGE_NAMES))
    subjects = table["subject"].unique().sort().to_list()
    palette = subject_colours(len(subjects))
    named = dict(zip(subjects, palette, strict=True)) if len(subjects) <= len(PALETTE) else {}
    return [
        draw_plane(
            one.projected,
            colours=[COLOURS[STAGE_NAMES[code]] for code in stage],
            legend=COLOURS,
            alt=f"{n} epochs of {title} by principal components and by t-SNE, coloured by stage: "
            f"{counts}.",
            caption=f"{title}, {n} epochs coloured by the expert's stage.",
            simulated=simulated,
        ),
        draw_plane(
            one.projected,
            colours=[palette[subjects.index(subject)] for subject in table["subject"]],
            legend=named,
            alt=f"The same {n} epochs of {title}, coloured by subject: "
            f"{plural(len(subjects), 'subject')}.",
            caption=f"The same epochs, a colour for each of {plural(len(subjects), 'subject')}"
            + ("." if named else "; their names are left out, since they are many."),
            simulated=simulated,
        ),
    ]


def subject_colours(subjects: int) -> list[str]:
    """Give each subject a colour; where they are many, hues at even steps."""
    if subjects <= len(PALETTE):
        return list(PALETTE[:subjects])
    hues = np.linspace(0, 1, subjects, endpoint=False)
    # Neighbours in hue differ in brightness.
    values = np.where(np.arange(subjects) % 2, 0.85, 0.6)
    colours = hsv_to_rgb(np.column_stack([hues, np.full(subjects, 0.8), values]))
    return ["#" + bytes((255 * rgb).round().astype(np.uint8)).hex() for rgb in colours]


@matplotlib.rc_context(STYLE)
def draw_plane(
    projected: Projected,
    *,
    colours: Sequence[str],
    legend: dict[str, str],
    alt: str,
    caption: str,
    simulated: str,
) -> Picture:
    """Draw each epoch by two principal components and by t-SNE.

    Parameters
    ----------
    projected
        Places of the epochs.
    colours
        Colour of each row.
    legend
        Names with their colours; none where they are too many to be named.
    alt, caption
        What the picture is of.
    simulated
        Badge of the caption.
    """
    table, about = projected.table, projected.about
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_dots(left, table.select(PCA_COLUMNS), colours)
    _draw_dots(right, table.select(TSNE_COLUMNS), colours)
    shares = [100 * share for share in about["explained_variance"]]
    left.set(
        title="principal components",
        xlabel=f"first component ({shares[0]:.0f} % of the variance)",
        ylabel=f"second component ({shares[1]:.0f} %)",
    )
    right.set(title=f"t-SNE, perplexity {about['perplexity']:.3g}", xticks=[], yticks=[])
    right.spines[["left", "bottom"]].set_visible(False)
    handles = [
        Line2D([], [], marker="o", linestyle="", color=colour, markersize=5, label=name)
        for name, colour in legend.items()
    ]
    if handles:
        drawn = figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        for text in drawn.get_texts():
            text.set_parse_math(False)
    return make_picture(figure, alt=alt, caption=caption, simulated=simulated)


def _draw_dots(axes: Any, places: pl.DataFrame, colours: Sequence[str]) -> None:
    """Draw dots in layers of chance, so that no colour hides the others."""
    xy = places.to_numpy().astype(np.float64)
    order = np.random.RandomState(0).permutation(len(xy))
    colour = np.array(colours)
    size = LARGE if len(xy) <= FEW_DOTS else SMALL
    for layer in np.array_split(order, LAYERS):
        for name in np.unique(colour[layer]):
            mine = xy[layer[colour[layer] == name]]
            draw_dots(axes, *mine.T, colour=name, size=size, alpha=ALPHA)
    axes.margins(0.04)
