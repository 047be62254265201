"""Read scorings of any known format: stages, events, lights off and on, each with its times.

A dataset's `dataset.yaml` says which format its files have and what their labels mean. The rules
for all formats are in `io.scoring`, those of a family of formats in the module that reads it. Of
EDF+ it is decided here that `Lights off@@EEG F4-A1` is the label `Lights off` of one signal (EDF+
puts the signal's name after `@@`), unless the whole is a known label.
"""

from collections.abc import Callable
from pathlib import Path

from somnoflow.config.annotation import Annotation, AnnotationFormat
from somnoflow.io.annotation_tables import read_table
from somnoflow.io.annotation_text import read_codes
from somnoflow.io.annotation_xml import read_nsrr_xml, read_profusion_xml
from somnoflow.io.edf import read_annotations
from somnoflow.io.scoring import Scoring, ScoringBuilder

__all__ = ["Scoring", "read_scoring"]


def read_scoring(path: Path, annotation: Annotation) -> Scoring:
    """Read one annotation file.

    Raises
    ------
    Rejection
        When the file cannot be read, or holds a stage label that `annotation` does not map.
    """
    return _READERS[annotation.format](path, annotation)


def _read_edf_plus(path: Path, annotation: Annotation) -> Scoring:
    builder = ScoringBuilder(annotation, file=path.name)
    builder.scoring.start, found = read_annotations(path)
    builder.scoring.has_clock = True
    for onset, duration, text in found:
        label = text if builder.knows(text) else text.partition("@@")[0]
        builder.add(onset, duration or None, label)
    return builder.scoring


_READERS: dict[AnnotationFormat, Callable[[Path, Annotation], Scoring]] = {
    "codes": read_codes,
    "edf+": _read_edf_plus,
    "bids-tsv": read_table,
    "csv": read_table,
    "noxturnal-csv": read_table,
    "nsrr-xml": read_nsrr_xml,
    "profusion-xml": read_profusion_xml,
}
