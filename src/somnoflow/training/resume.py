"""What survives a kill: the state of training after each pass, and the best weights so far.

Both lie in `resume/<key>/`, which Snakemake does not know and so does not delete. The key is a hash
of all that decides the result; a checkpoint of other code, settings or data is never continued.

A pass is finished when `last.ckpt` has been renamed to its name. The best weights are written
before it under the name of their pass, so a kill between the two costs one pass and no more.

A finished training keeps its two results there, without the state. On a cluster Snakemake can die
while its jobs go on; started again it deletes their outputs and asks for them anew, and then they
are copied instead of trained once more.
"""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from somnoflow.io.atomic import atomic
from somnoflow.io.digest import sha256_file, sha256_json
from somnoflow.models.weights import write_weights
from somnoflow.training.history import write_history

log = logging.getLogger(__name__)

CHECKPOINT = "last.ckpt"


class Resume:
    """The folder of one training, `<home>/<key>`.

    Parameters
    ----------
    home
        Folder of this channel and fold; it holds one training's folder in the long run.
    key
        From `resume_key`.
    """

    def __init__(self, home: Path, key: str) -> None:
        self._home = home
        self.folder = home / key
        self.encoder = self.folder / "encoder.safetensors"
        self.training = self.folder / "training.csv"

    @property
    def finished(self) -> bool:
        """Whether the results of a finished training are here; the table is written last."""
        return self.training.exists()

    def finish(self, best: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep best weights and record of the passes; drop the state and older trainings."""
        with atomic(self.encoder) as path:
            shutil.copyfile(best, path)
        with atomic(self.training) as path:
            write_history(path, rows)
        for other in self._home.iterdir():
            if other != self.folder:
                shutil.rmtree(other)
        best.unlink()
        (self.folder / CHECKPOINT).unlink()


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

    Parameters
    ----------
    folder
        `resume/<key>`.
    weights
        Gives the tensors to keep and their description.
    """

    def __init__(
        self,
        folder: Path,
        *,
        weights: Callable[[], tuple[Mapping[str, Any], Mapping[str, Any]]],
    ) -> None:
        self._folder = folder
        self._weights = weights
        self.rows: list[dict[str, Any]] = []

    @property
    def checkpoint(self) -> Path:
        """The state after the last finished pass."""
        return self._folder / CHECKPOINT

    @property
    def best_pass(self) -> int:
        """The pass with the lowest validation loss, the first of equals."""
        best = min(self.rows, key=lambda row: row["val_loss"])
        return int(best["pass"])

    @property
    def best_weights(self) -> Path:
        """The weights of the best pass, on disk."""
        return self._folder / f"best-{self.best_pass}.safetensors"

    def state_dict(self) -> dict[str, Any]:
        """Give the record of the passes; Lightning writes it into the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the record of the passes before the stop."""
        self.rows = state_dict["rows"]
        if not self.best_weights.exists():
            raise FileNotFoundError(
                f"{self.best_weights} is missing beside {CHECKPOINT}. "
                f"Delete the folder {self._folder} to train from the beginning"
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the best weights where they improved, then the state, then remove what is old."""
        row = pl_module.pass_record()  # type: ignore[operator]
        self.rows.append(row)
        if self.best_pass == row["pass"]:
            tensors, about = self._weights()
            with atomic(self.best_weights) as path:
                write_weights(path, tensors, {**about, "best_pass": row["pass"]})
        with atomic(self.checkpoint) as path:
            trainer.save_checkpoint(path)
        for old in self._folder.glob("best-*.safetensors"):
            if old != self.best_weights:
                old.unlink()
        log.info(
            "pass %d of %d: train loss %.4f (reconstruction %.4f, contrastive %.4f), "
            "validation loss %.4f, best pass %d",
            row["pass"], trainer.max_epochs, row["train_loss"], row["train_reconstruction"],
            row["train_contrastive"], row["val_loss"], self.best_pass,
        )  # fmt: skip
