"""Take the stages of YASA's own stager as predictions of a fold."""

from somnoflow.baselines.yasa_features import read_answers
from somnoflow.config.baselines import YasaSlice
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.tasks import TASKS
from somnoflow.training.roles import read_roles
from somnoflow.training.scoring import gather_predictions, write_predictions


def score_yasa(
    *, features: Inputs, split: Input, predictions: Output, fold: int, cfg: YasaSlice
) -> None:
    """Write the predictions of the fold's validation and test subjects."""
    task, roles = TASKS["staging"], read_roles(split, fold=fold)
    subjects = [*roles.val, *roles.test]
    table = gather_predictions(
        (read_answers(path, subjects=subjects) for path in sorted(features)),
        task=task,
        roles=roles,
        fold=fold,
        where=f"YASA's features of {cfg.channel}",
    )
    write_predictions(predictions, table, task=task)


if __name__ == "__main__":
    command(score_yasa)
