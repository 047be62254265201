"""Reading of run.json, which stands beside each artefact and says what made it."""

import json
from pathlib import Path
from typing import Any

from somnoflow.io.digest import DigestError

RUN_FILE = "run.json"


def read_run(artefact: Path) -> dict[str, Any] | None:
    """Read the run.json beside an artefact; None where there is none.

    Raises `DigestError` where it is damaged.
    """
    record = artefact.with_name(RUN_FILE)
    if not record.exists():
        return None
    try:
        run: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DigestError(
            f"{record} is damaged: {error}. Delete {artefact}, and the workflow makes both anew"
        ) from error
    return run


def noted_digest(run: dict[str, Any], artefact: Path) -> str | None:
    """Give the SHA-256 that a run.json notes for the artefact beside it; None where it has none."""
    # Its paths are those of the run, perhaps from another folder: the name decides.
    digests = {Path(name).name: sha256 for name, sha256 in run.get("outputs", {}).items()}
    return digests.get(artefact.name)
