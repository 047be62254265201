"""Embeddings of test subjects in a plane: two principal components, and t-SNE.

t-SNE (van der Maaten and Hinton 2008) keeps neighbours together and nothing else. It starts from
principal components, so that the same epochs give the same picture.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from somnoflow.config.projection import Projection
from somnoflow.data.projection import LEAST, PCA_COLUMNS, TSNE_COLUMNS
from somnoflow.evaluate.predictions import RECORDING_KEY
from somnoflow.training.embedded import read_dimension, read_parts, to_matrix
from somnoflow.training.roles import require_subjects

KEY = [*RECORDING_KEY, "epoch"]
# As many as the probe of nearest neighbours looks at.
COMPONENTS = 50
# Of t-SNE: the neighbours it looks at are three times the perplexity.
NEIGHBOURS = 3


def project_embeddings(
    index: Path, *, subjects: Collection[str], cfg: Projection
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Lay scored epochs of some subjects out in a plane.

    Parameters
    ----------
    index
        `index.json` of the embeddings.
    subjects
        Subject keys (`dataset/subject`).
    cfg
        How many epochs, and the settings of t-SNE.

    Returns
    -------
    The rows and what `data.projection.Projected` says about them; no row where fewer than three
    epochs are scored and usable.

    Raises
    ------
    ValueError
        When a subject is not embedded.
    DigestError
        When a part is not the one that the index names.
    """
    scored = _scored_epochs(index, subjects=subjects)
    drawn = draw_epochs(scored, epochs=cfg.epochs, seed=cfg.seed)
    about: dict[str, Any] = {"epochs": 0, "of": scored.height}
    if drawn.height < LEAST:
        empty = {name: pl.Series(dtype=pl.Float32) for name in (*PCA_COLUMNS, *TSNE_COLUMNS)}
        return drawn.clear().with_columns(**empty), about | dict.fromkeys(
            ("explained_variance", "perplexity")
        )
    table, embeddings = _read_drawn(index, drawn)
    components, shares = principal_components(embeddings, seed=cfg.seed)
    perplexity = min(cfg.perplexity, (drawn.height - 1) / NEIGHBOURS)
    neighbours = neighbour_embedding(components, perplexity=perplexity, seed=cfg.seed)
    places = np.hstack([components[:, :2], neighbours]).astype(np.float32)
    columns = dict(zip((*PCA_COLUMNS, *TSNE_COLUMNS), places.T, strict=True))
    return table.with_columns(**{name: pl.Series(v) for name, v in columns.items()}), about | {
        "epochs": drawn.height,
        "explained_variance": [round(float(share), 6) for share in shares[:2]],
        "perplexity": perplexity,
    }


def draw_epochs(scored: pl.DataFrame, *, epochs: int, seed: int) -> pl.DataFrame:
    """Draw at most `epochs` rows, as many of each recording as can be, without replacement.

    Parameters
    ----------
    scored
        At least `dataset`, `subject`, `recording` and `epoch`.
    epochs
        Most rows; where recordings are of different length, short ones give all they have.
    seed
        Seed of the draw.

    Returns
    -------
    The drawn rows, sorted by recording and epoch.
    """
    scored = scored.sort(KEY)
    # The legacy generator: its numbers are the same in every version of NumPy.
    lot = np.random.RandomState(seed).permutation(scored.height)
    # Turn by turn each recording gives one epoch, until there are enough.
    ranked = scored.with_columns(lot=pl.Series(lot, dtype=pl.Int64)).with_columns(
        turn=pl.col("lot").rank("ordinal").over(RECORDING_KEY)
    )
    chosen = ranked.sort("turn", "lot").head(epochs)
    return chosen.drop("lot", "turn").sort(KEY)


def principal_components(
    embeddings: npt.NDArray[np.float32], *, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Give at most 50 principal components of (N, D), at least two, and their shares of variance.

    Embeddings that are all alike lie in one point, and no component explains anything.
    """
    matrix = embeddings.astype(np.float64)
    if not np.ptp(matrix, axis=0).any():
        return np.zeros((len(matrix), 2)), np.zeros(2)
    model = PCA(min(COMPONENTS, *matrix.shape), random_state=seed)
    found = model.fit_transform(matrix)
    missing = max(0, 2 - found.shape[1])
    shares = np.pad(model.explained_variance_ratio_, (0, missing))
    return np.pad(found, ((0, 0), (0, missing))), shares


def neighbour_embedding(
    components: npt.NDArray[np.float64], *, perplexity: float, seed: int
) -> npt.NDArray[np.float64]:
    """Give the places (N, 2) of t-SNE; all are one point where the components are."""
    if not np.ptp(components, axis=0).any():
        return np.zeros((len(components), 2))
    model = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    places: npt.NDArray[np.float64] = model.fit_transform(components)
    return places


def _scored_epochs(index: Path, *, subjects: Collection[str]) -> pl.DataFrame:
    """Give key and stage of the epochs with a stage and an embedding."""
    parts: list[pl.DataFrame] = []
    found: set[str] = set()
    for part in read_parts(index, subjects=subjects):
        found.update(part["subject"])
        usable = part.filter(pl.col("usable") & (pl.col("stage") >= 0))
        parts.append(usable.select(*KEY, "stage"))
    require_subjects(subjects, found, where=str(index))
    return pl.concat(parts)


def _read_drawn(index: Path, drawn: pl.DataFrame) -> tuple[pl.DataFrame, npt.NDArray[np.float32]]:
    """Read the embeddings (N, D) of the drawn rows, in the order of the rows that are given."""
    dimension = read_dimension(index)
    tables, matrices = [], []
    for part in read_parts(index, subjects=drawn["subject"].unique().to_list()):
        rows = part.join(drawn.select(KEY), on=KEY, how="semi", maintain_order="left")
        tables.append(rows.select(*KEY, "stage"))
        matrices.append(to_matrix(rows["embedding"], dimension=dimension))
    return pl.concat(tables), np.concatenate(matrices)
