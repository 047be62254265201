"""The report: one HTML page without scripts that needs nothing but itself.

The modules beside this one make tables and pictures, `page.html` puts them in order. The template
escapes every text, since names of subjects, labels and notes come from other people's files.
"""

from pathlib import Path

import polars as pl

from somnoflow.config.report import ReportSlice
from somnoflow.report.ablation_section import HOW_TO as HOW_TO_ABLATE
from somnoflow.report.ablation_section import Ablated, ablation_panels
from somnoflow.report.calibration_section import HOW_TO as HOW_TO_CALIBRATE
from somnoflow.report.calibration_section import Calibrated, calibration_panels
from somnoflow.report.channel_tables import (
    absent_channels,
    all_channels_table,
    channel_remarks,
    channel_table,
    unused_table,
)
from somnoflow.report.comparison_section import HOW_TO as HOW_TO_COMPARE
from somnoflow.report.comparison_section import comparison_panels
from somnoflow.report.data_sections import (
    MAX_GRID,
    external_sentence,
    extra_table,
    leaks,
    recordings_table,
    rejected_tables,
    remark_tables,
    split_tables,
)
from somnoflow.report.event_section import HOW_TO as HOW_TO_ASK
from somnoflow.report.event_section import event_panels
from somnoflow.report.explanation_section import HOW_TO as HOW_TO_EXPLAIN
from somnoflow.report.explanation_section import (
    Explained,
    explanation_panels,
    explanation_words,
)
from somnoflow.report.figures import (
    COLOURS,
    LOSSES,
    UNKNOWN,
    Picture,
    stage_distribution,
    training_curves,
)
from somnoflow.report.files import Files
from somnoflow.report.label_curves import LabelEfficiency
from somnoflow.report.label_section import HOW_TO, label_panels, notes, sizes_tables
from somnoflow.report.methods_section import deviations_table, human_sentence, methods_text
from somnoflow.report.modality_section import modality_panels
from somnoflow.report.naming import MAJORITY, STAGING, SYNTHSLEEPNET, ModelName, anchored
from somnoflow.report.nights import choose_models, choose_recordings, kappa_table, nights
from somnoflow.report.origin import provenance_table, versions_table
from somnoflow.report.projection_section import HOW_TO_READ, Projection, projection_panels
from somnoflow.report.quality import choose_worst, draw_nights, poor_recordings, share_table
from somnoflow.report.quality_figure import GOOD, LOOKS
from somnoflow.report.results import f1_picture, headline, model_sections, name_few
from somnoflow.report.size_figure import draw_sizes
from somnoflow.report.sources import Cohort, Model, Run, Training, tested_subjects
from somnoflow.report.stacked_night import stacked_night
from somnoflow.report.tables import count, plural
from somnoflow.report.template import fill_in
from somnoflow.report.variants import comparisons, hybrid_sentences, recipes, variant_table
from somnoflow.stages import STAGE_NAMES

TEMPLATE = Path(__file__).with_name("page.html")
FEW_SUBJECTS = 10


def render(
    *,
    cohort: Cohort,
    quality: pl.DataFrame,
    models: list[Model],
    calibrated: list[Calibrated],
    trained: list[Training],
    efficiency: LabelEfficiency,
    comparison: pl.DataFrame,
    ablations: list[Ablated],
    projections: list[Projection],
    explained: list[Explained],
    runs: list[Run],
    files: Files,
    cfg: ReportSlice,
) -> str:
    """Write the page.

    Parameters
    ----------
    cohort
        Recordings, rejected files, channels and split.
    quality
        Usable epochs of each recording, as `read_quality` counts them.
    models
        Evaluated models, by task, encoder, channel and method.
    calibrated
        How well their probabilities are calibrated, in the same order.
    trained
        Training tables.
    efficiency
        Results of models that were trained on few labels.
    comparison
        Models beside published results.
    ablations
        Results with every subset of a fusion's modalities.
    projections
        Embeddings in a plane.
    explained
        Explained test epochs of each model.
    runs
        Provenance of the files the page was made from.
    files
        Takes each figure and table, to which the page links.
    cfg
        Title and number of pictures, and how signals were filtered.
    """
    staging = [model for model in models if model.name.task == STAGING]
    # A constant answer has no hypnogram worth a picture.
    answering = [model for model in staging if model.name.source.encoder != MAJORITY]
    chosen, rule = choose_recordings(answering, cfg.hypnograms)
    drawn, models_rule = choose_models(answering)
    compared, known = comparisons(staging), recipes(runs)
    worst, quality_rule = choose_worst(quality, cfg.quality_recordings)
    return fill_in(
        TEMPLATE,
        files=files,
        anchored=anchored,
        colours=COLOURS,
        unknown=UNKNOWN,
        stages=STAGE_NAMES,
        title=cfg.title,
        simulated=cohort.simulated,
        simulated_recordings=int(cohort.recordings["simulated"].sum()),
        facts=facts(cohort, models, efficiency),
        warnings=warnings(cohort, quality, models, runs),
        headline=headline(staging, simulated=cohort.simulated, external=cohort.external_datasets),
        humans=human_sentence(),
        f1_picture=f1_picture(answering, simulated=cohort.simulated),
        comparison=comparison_panels(comparison),
        comparison_how_to=HOW_TO_COMPARE,
        sizes=draw_sizes(comparison, simulated=cohort.simulated),
        recordings=recordings_table(cohort),
        cohort_picture=(
            stage_distribution(cohort.recordings, simulated=cohort.simulated)
            if cohort.recordings.height
            else None
        ),
        rejected=rejected_tables(cohort),
        extra=extra_table(cohort),
        remarks=remark_tables(cohort),
        channel_remarks=channel_remarks(cohort),
        channels=channel_table(cohort),
        absent=absent_channels(cohort),
        unused=unused_table(cohort),
        all_channels=all_channels_table(cohort),
        quality_shares=share_table(cohort),
        quality_rule=quality_rule,
        quality_nights=draw_nights(worst, cohort),
        looks=list(LOOKS.values()),
        good=GOOD,
        split_tables=split_tables(cohort),
        split_leaks=leaks(cohort),
        external=external_sentence(cohort),
        model_sections=model_sections(staging, simulated=cohort.simulated),
        test_recordings=kappa_table(answering, chosen, simulated=cohort.simulated),
        variants=variant_table(compared, known=known, simulated=cohort.simulated),
        variant_sentences=hybrid_sentences(compared, known=known, simulated=cohort.simulated),
        calibrations=calibration_panels(calibrated, models, simulated=cohort.simulated),
        calibrations_how_to=HOW_TO_CALIBRATE,
        events=event_panels(models, simulated=cohort.simulated),
        events_how_to=HOW_TO_ASK,
        fused=any(model.name.source.encoder == SYNTHSLEEPNET for model in models),
        ablations=ablation_panels(ablations, simulated=cohort.simulated),
        ablations_how_to=HOW_TO_ABLATE,
        modalities=modality_panels(models, simulated=cohort.simulated),
        projections=projection_panels(projections, simulated=cohort.simulated),
        projection_words=HOW_TO_READ,
        label_sizes=sizes_tables(efficiency, simulated=cohort.simulated),
        label_notes=notes(efficiency),
        label_panels=label_panels(efficiency, simulated=cohort.simulated),
        label_how_to=HOW_TO,
        stacked=stacked_night(answering, cohort),
        hypnogram_rule=rule + models_rule,
        nights=nights(drawn, chosen, cohort),
        explanations=explanation_panels(explained, cohort=cohort),
        explanation_words=explanation_words(explained),
        explanations_how_to=HOW_TO_EXPLAIN,
        pretraining=training_pictures(_of_encoders(trained), simulated=cohort.simulated),
        training=training_pictures(_of_models(trained), simulated=cohort.simulated),
        untrained=[one.title for one in trained if not _drawable(one)],
        methods=methods_text(cohort=cohort, models=models, runs=runs, cfg=cfg),
        deviations=deviations_table(models),
        provenance=provenance_table(runs),
        versions=versions_table(runs),
    )


def facts(
    cohort: Cohort, models: list[Model], efficiency: LabelEfficiency
) -> list[tuple[str, str]]:
    """Give the few numbers on top: what was there, what was not taken, what was judged."""
    recordings = cohort.recordings
    fewer = sum(len(seeds) for curve in efficiency.curves for seeds in curve.metrics.values())
    return [
        (count(recordings["subject"].n_unique()), "subjects"),
        (count(recordings.height), "recordings"),
        (f"{recordings['hours'].sum():,.1f}", "hours"),
        (count(int(recordings["scored"].sum())), "scored epochs"),
        (count(cohort.rejected.height), "files rejected"),
        (count(len(models)), "models judged"),
        *([(count(fewer), "models on fewer labels")] if fewer else []),
    ]


def warnings(
    cohort: Cohort, quality: pl.DataFrame, models: list[Model], runs: list[Run]
) -> list[str]:
    """Say what a reader must know before the numbers."""
    found = []
    every = [model for model in models if model.metrics is not None]
    judged = [model for model in every if model.name.task == STAGING]
    fewest = min((m.metrics["intervals"]["subjects"] for m in every if m.metrics), default=None)
    if fewest is not None and fewest < FEW_SUBJECTS:
        found.append(
            f"Only {plural(fewest, 'test subject')}: "
            + (
                "the intervals are a rough guide and tend to be too narrow."
                if fewest > 1
                else "no intervals."
            )
        )
    scored = {model.metrics["counts"]["scored"] for model in judged if model.metrics}
    if len(scored) > 1:
        found.append(
            f"The models of stages were judged on different numbers of epochs ({min(scored):,} to "
            f"{max(scored):,}): small differences between them may come from that."
        )
    if constant := [model.name.title for model in judged if answers_one_stage(model)]:
        found.append(
            f"{plural(len(constant), 'model')} gave every test epoch the same stage and learned "
            f"nothing that shows: {'; '.join(constant[:MAX_GRID])}."
        )
    if leaks(cohort):
        found.append("Subjects have two roles in one fold: see Split. The results are not valid.")
    found += unlike_split(cohort, models)
    if cohort.rejected.height:
        found.append(f"{plural(cohort.rejected.height, 'file')} could not be used: see Rejected.")
    doubtful = cohort.taken.filter(pl.col("remark") != "")["recording"].n_unique()
    if doubtful:
        found.append(f"Channels of {plural(doubtful, 'recording')} have remarks: see Channels.")
    if poor := poor_recordings(quality):
        found.append(
            f"{plural(poor, 'recording')} without a usable signal for more than half of the "
            "epochs: see Signal quality."
        )
    unjudged = [model.name.title for model in models if model.metrics is None]
    if unjudged:
        found.append(f"No metrics were given for {', '.join(unjudged)}.")
    changed = [str(run.file) for run in runs if run.changed]
    if changed:
        found.append(f"Changed after they were made: {', '.join(changed)}. See Provenance.")
    return found


def answers_one_stage(model: Model) -> bool:
    """Tell whether a model that was judged predicts one stage only, and was not made to."""
    if model.name.source.encoder == MAJORITY:
        return False
    matrix = (model.metrics or {})["pooled"]["confusion_matrix"]
    return sum(any(column) for column in zip(*matrix, strict=True)) == 1


def unlike_split(cohort: Cohort, models: list[Model]) -> list[str]:
    """Compare the subjects that were tested with those the split names as test subjects."""
    planned = {(subject, fold["fold"]) for fold in cohort.folds for subject in fold["test"]}
    found: dict[str, list[str]] = {}
    for model in models:
        if not model.predictions:
            continue
        tested = tested_subjects(model)
        if strays := sorted({subject for subject, _ in tested - planned}):
            told = (
                f"tested on {plural(len(strays), 'subject')} that the split does not test in that "
                f"fold: {', '.join(strays)}. Do not use these results"
            )
            found.setdefault(told, []).append(model.name.title)
        if absent := sorted({subject for subject, _ in planned - tested}):
            told = (
                f"no test predictions of {plural(len(absent), 'subject')}: "
                f"{', '.join(absent[:MAX_GRID])}"
            )
            found.setdefault(told, []).append(model.name.title)
    return [f"{name_few(names)}: {told}." for told, names in found.items()]


def _of_encoders(trained: list[Training]) -> list[Training]:
    return [one for one in trained if not isinstance(one.name, ModelName)]


def _of_models(trained: list[Training]) -> list[Training]:
    return [one for one in trained if isinstance(one.name, ModelName)]


def training_pictures(trained: list[Training], *, simulated: str) -> list[Picture]:
    """Draw the losses of each network that was trained in passes."""
    return [
        training_curves(one.title, folds, simulated=simulated)
        for one in trained
        if (folds := _drawable(one))
    ]


def _drawable(training: Training) -> dict[str, pl.DataFrame]:
    return {
        fold: frame
        for fold, frame in training.folds.items()
        if any(name in frame.columns and frame[name].count() for name in LOSSES)
    }
