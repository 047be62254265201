"""Deal the cohort's subjects into folds and write the roles down."""

import json

from somnoflow.config.split import Split
from somnoflow.data.splitting import count_stages, make_split
from somnoflow.entry import Input, Output, command
from somnoflow.io.atomic import write_json


def split(*, index: Input, split: Output, cfg: Split) -> None:
    """Write `split.json`, from which everything reads who trains, decides and is judged."""
    cohort = json.loads(index.read_text(encoding="utf-8"))
    write_json(split, make_split(count_stages(cohort["recordings"]), cfg))


if __name__ == "__main__":
    command(split)
