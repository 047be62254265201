"""Write the simulated nights of one shard as EDF+ files, with a manifest."""

from pathlib import Path

from tqdm import tqdm

from somnoflow.config.simulate import SimulateSlice
from somnoflow.entry import Output, command
from somnoflow.io.atomic import atomic
from somnoflow.io.digest import sha256_file
from somnoflow.io.manifest import Row, write_manifest
from somnoflow.simulate.edf import write_night
from somnoflow.simulate.night import simulate_night


def simulate(*, manifest: Output, folder: Path, cfg: SimulateSlice) -> None:
    """Simulate each subject's night into `folder` and list the files in `manifest`."""
    rows: list[Row] = []
    for subject in tqdm(cfg.subjects, desc="simulate", unit="night", disable=None):
        night = simulate_night(subject, seed=cfg.seed, hours=cfg.hours)
        recording = folder / f"{subject}.edf"
        annotations = folder / f"{subject}-annotations.edf"
        with atomic(recording) as partial, atomic(annotations) as partial_annotations:
            write_night(night, recording=partial, annotations=partial_annotations)
        rows.append(_row(recording, subject=subject, role="signal"))
        rows.append(_row(annotations, subject=subject, role="stages"))
    write_manifest(manifest, rows)


def _row(path: Path, *, subject: str, role: str) -> Row:
    return Row(
        file=path.name,
        bytes=path.stat().st_size,
        sha256=sha256_file(path),
        subject=subject,
        night=1,
        role=role,
    )


if __name__ == "__main__":
    command(simulate)
