"""The model card of a bundle: model.json in words, and no number that is not in it."""

from pathlib import Path

from jinja2 import Environment, StrictUndefined

from somnoflow.bundles.about import BundleAbout, Measure
from somnoflow.config.unimodal import modality_of
from somnoflow.report.naming import BASE, TASK_WORDS
from somnoflow.report.tables import count, score, score_with_interval

TEMPLATE = Path(__file__).with_name("card.md")
SYNTHSLEEPNET = "SynthSleepNet (arXiv 2502.17481)"
# Where an architecture is published; ours differ as docs/models.md says.
PAPERS = {
    "neuronet": "NeuroNet (arXiv 2404.17585)",
    "unimodal": f"the encoder of one modality of {SYNTHSLEEPNET}",
    "synthsleepnet": SYNTHSLEEPNET,
    "seresnet_bilstm": "SE-ResNet-BiLSTM (arXiv 2309.07156)",
    "deepsleepnet": "DeepSleepNet (arXiv 1703.04046)",
    "tinysleepnet": "TinySleepNet (Supratak and Guo, EMBC 2020)",
}
WORDS = {
    "macro_f1": "Macro F1",
    "f1": "F1",
    "prevalence": "Average precision of a constant answer (prevalence)",
}


def write_card(about: BundleAbout, *, file: str = "bundle.zip") -> str:
    """Give the model card in Markdown; `file` is what the example calls the bundle."""
    # Markdown, shown as text: nothing of it is HTML.
    environment = Environment(
        autoescape=False,  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "count": count,
        "score": score,
        "measure": _measure,
        "number": lambda value: f"{value:g}",
        "words": lambda name: WORDS.get(name, name.replace("_", " ").capitalize()),
    }
    modalities = dict.fromkeys(map(modality_of, about.channels))
    encoder = about.row.encoder
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        about=about,
        file=file,
        asked="sleep stages" if about.task == "staging" else TASK_WORDS[about.task],
        all_simulated=all(dataset.simulated for dataset in about.training.datasets),
        filters=[
            (name, band) for name, band in about.signals.filters.items() if name in modalities
        ],
        paper=PAPERS.get(BASE if encoder.startswith(f"{BASE}-") else encoder),
    )


def _measure(measure: Measure) -> str:
    return score_with_interval(measure.value, measure.interval)
