"""What survives a kill: the state of training after each pass, and the best weights so far.

Both lie in `resume/<key>/`, which Snakemake does not know and so does not delete. The key is a hash
of all that decides the result; a checkpoint of other code, settings or data is never continued.

A pass is finished when `last.ckpt` has been renamed to its name. The best weights are written
before it under the name of their pass, so a kill between the two costs one pass and no more.

A finished training keeps its two results there, without the state. On a cluster Snakemake can die
while its jobs go on; started again it deletes their outputs and asks for them anew, and then they
are copied instead of trained once more.
"""

import json
import logging
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from pydantic import BaseModel

from somnoflow.fingerprint import fingerprint
from somnoflow.io.atomic import atomic, write_json
from somnoflow.io.digest import sha256_file, sha256_json
from somnoflow.models.weights import write_weights
from somnoflow.training.history import write_history

log = logging.getLogger(__name__)

CHECKPOINT = "last.ckpt"

Row = dict[str, Any]


class CheckpointError(ValueError):
    """A training cannot be continued from what lies on disk."""


@dataclass(frozen=True)
class Choice:
    """Which pass of a training is kept: the one with the best value of a column of its rows.

    Parameters
    ----------
    column
        Such as `val_loss`; measured on validation subjects.
    highest
        Whether the highest value is the best, else the lowest; of equals the first.
    """

    column: str
    highest: bool = False

    def best(self, rows: Sequence[Row]) -> Row:
        """Give the row of the pass to keep."""
        choose = max if self.highest else min
        return choose(rows, key=lambda row: row[self.column])


class Resume:
    """The folder of one training, `<home>/<key>`.

    Parameters
    ----------
    home
        Folder of what is trained and its fold; it holds one training's folder in the long run.
    key
        From `resume_key`.

    Attributes
    ----------
    weights, training
        The two results of a finished training: best weights and record of the passes.
    """

    def __init__(self, home: Path, key: str) -> None:
        self._home = home
        self.folder = home / key
        self.weights = self.folder / "weights.safetensors"
        self.training = self.folder / "training.csv"
        self._digests = self.folder / "sha256.json"

    @property
    def finished(self) -> bool:
        """Whether the results of a finished training are here; the table is written last."""
        return self.training.exists() and self._digests.exists()

    def finish(self, best: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep best weights and record of the passes; drop the state and older trainings."""
        with (
            atomic(self.training) as training,
            atomic(self._digests) as digests,
            atomic(self.weights) as weights,
        ):  # they get their names from the last to the first
            shutil.copyfile(best, weights)
            write_history(training, rows)
            made = {self.weights.name: weights, self.training.name: training}
            write_json(digests, {name: sha256_file(path) for name, path in made.items()})
        self._tidy()

    def copy(self, *, weights: Path, training: Path) -> None:
        """Copy the two results to where the workflow wants them.

        Raises `CheckpointError` where they are no longer what the training left.
        """
        self._tidy()  # where a kill came between the results and the end of `finish`
        digests = json.loads(self._digests.read_text(encoding="utf-8"))
        for kept, wanted in ((self.weights, weights), (self.training, training)):
            if not kept.exists() or sha256_file(kept) != digests[kept.name]:
                raise CheckpointError(
                    f"{kept} is damaged: it is not the file that the training left. Delete the "
                    f"folder {self.folder} to train from the beginning"
                )
            shutil.copyfile(kept, wanted)

    def _tidy(self) -> None:
        """Leave nothing but the two results and their digests."""
        for other in self._home.iterdir():
            if other != self.folder:
                shutil.rmtree(other)
        for state in self.folder.iterdir():
            if state.is_dir():  # of a training in steps
                shutil.rmtree(state)
            elif state not in (self.weights, self.training, self._digests):
                state.unlink()


def find_resume(
    home: Path, *, stage: str, name: str, fold: int, settings: BaseModel, inputs: list[Path]
) -> Resume:
    """Give the folder of the training that a stage's code, settings and inputs decide.

    Parameters
    ----------
    home
        Folder of all trainings that can be continued.
    stage
        Module in `somnoflow.commands`.
    name
        Which model, as in its path.
    fold
        Fold of the split.
    settings
        The stage's slice of the configuration.
    inputs
        Its input files.
    """
    key = resume_key(
        code=fingerprint(f"somnoflow.commands.{stage}"),
        settings=settings.model_dump(mode="json"),
        inputs=inputs,
        fold=fold,
    )
    return Resume(home / stage / name / f"fold={fold}", key)


def resume_key(*, code: str, settings: Mapping[str, Any], inputs: list[Path], fold: int) -> str:
    """Give the name of the folder whose checkpoint may be continued.

    Parameters
    ----------
    code
        Fingerprint of the command.
    settings
        Its slice of the configuration.
    inputs
        Its input files; their content counts, not their names.
    fold
        Fold of the split.
    """
    digests = sorted(sha256_file(path) for path in inputs)
    value = {"code": code, "settings": settings, "inputs": digests, "fold": fold}
    return sha256_json(value)[:16]


class PassCheckpoints(pl.Callback):
    """Keeps the record of each pass, the best weights and the state to continue from, on disk.

    The Lightning module gives a pass's row of training.csv with `pass_record()`; the row has the
    number of the pass as `pass`. Where the trainer has a logger, the row's numbers become curves.

    Parameters
    ----------
    folder
        `resume/<key>`.
    weights
        Gives the tensors to keep and their description.
    choice
        Which pass is the best.
    """

    def __init__(
        self,
        folder: Path,
        *,
        weights: Callable[[], tuple[Mapping[str, Any], Mapping[str, Any]]],
        choice: Choice,
    ) -> None:
        self._folder = folder
        self._weights = weights
        self._choice = choice
        self.rows: list[Row] = []
        self._best_sha256 = ""

    @property
    def checkpoint(self) -> Path:
        """The state after the last finished pass."""
        return self._folder / CHECKPOINT

    @property
    def best_pass(self) -> int:
        """The number of the pass to keep."""
        return int(self._choice.best(self.rows)["pass"])

    @property
    def best_weights(self) -> Path:
        """The weights of the best pass, on disk."""
        return self._folder / f"best-{self.best_pass}.safetensors"

    def find_checkpoint(self) -> Path | None:
        """Give the state to continue from, or None; raise `CheckpointError` where it is damaged."""
        if not self.checkpoint.exists():
            return None
        if not is_whole(self.checkpoint):
            raise CheckpointError(
                f"{self.checkpoint} ({self.checkpoint.stat().st_size} bytes) is damaged: it is "
                f"not the whole file that was written. Delete the folder {self._folder} to train "
                "from the beginning"
            )
        log.info("continuing after the last finished pass, from %s", self.checkpoint)
        return self.checkpoint

    def rows_with_best(self) -> list[Row]:
        """Give the rows of training.csv, the best pass marked with `best` 1."""
        best = self.best_pass
        return [{**row, "best": int(row["pass"] == best)} for row in self.rows]

    def state_dict(self) -> dict[str, Any]:
        """Give the record of the passes; Lightning writes it into the checkpoint."""
        return {"rows": self.rows, "best_sha256": self._best_sha256}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the record of the passes before the stop."""
        self.rows = state_dict["rows"]
        self._best_sha256 = state_dict["best_sha256"]
        if not self.best_weights.exists() or sha256_file(self.best_weights) != self._best_sha256:
            raise CheckpointError(
                f"{self.best_weights} is missing or damaged: it is not what {CHECKPOINT} beside it "
                f"names. Delete the folder {self._folder} to train from the beginning"
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the best weights where they improved, then the state, then remove what is old."""
        row = pl_module.pass_record()  # type: ignore[operator]
        self.rows.append(row)
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.checkpoint)  # writes nothing here, but waits for the first
            return
        if self.best_pass == row["pass"]:
            tensors, about = self._weights()
            with atomic(self.best_weights) as path:
                write_weights(path, tensors, {**about, "best_pass": row["pass"]})
            self._best_sha256 = sha256_file(self.best_weights)
        _draw(trainer, row)
        with atomic(self.checkpoint) as path:
            trainer.save_checkpoint(path)
        for old in self._folder.glob("best-*.safetensors"):
            if old != self.best_weights:
                old.unlink()
        left = (trainer.max_epochs or 0) - trainer.current_epoch - 1
        log.info(
            "pass %d of %d: %s, best pass %d",
            row["pass"], row["pass"] + left, _values(row), self.best_pass,
        )  # fmt: skip


def is_whole(checkpoint: Path) -> bool:
    """Tell whether a file of `torch.save` has its directory and the check sums of its parts."""
    if not zipfile.is_zipfile(checkpoint):
        return False
    try:
        with zipfile.ZipFile(checkpoint) as file:
            return file.testzip() is None
    except zipfile.BadZipFile:
        return False


def _draw(trainer: pl.Trainer, row: Row) -> None:
    """Add the pass to the curves, at its last step; before the state, so that none is missing."""
    for logger in trainer.loggers:
        numbers = {name: value for name, value in row.items() if value is not None}
        logger.log_metrics(numbers, step=trainer.global_step)
        logger.experiment.flush()  # type: ignore[attr-defined]


def _values(row: Row) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in row.items()
        if name != "pass" and value is not None
    )
