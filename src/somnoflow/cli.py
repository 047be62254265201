"""The `somnoflow` command: what people type; the workflow's own commands are in `commands/`."""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from somnoflow.config.base import ConfigError
from somnoflow.config.dataset import Dataset, Reading
from somnoflow.config.dataset_file import read_dataset
from somnoflow.config.documents import DOCUMENTS, document
from somnoflow.config.files import load_values
from somnoflow.config.root import read_config
from somnoflow.config.signals import Channel
from somnoflow.freshness import Verdict, judge
from somnoflow.inspect.findings import MOST, inspect_folder
from somnoflow.inspect.known import read_datasets
from somnoflow.inspect.steps import next_steps
from somnoflow.inspect.text import as_json, describe
from somnoflow.io.atomic import atomic
from somnoflow.io.inventory import (
    compare_sizes,
    make_manifest,
    manifest_of_sums,
    require_records,
)
from somnoflow.io.manifest import (
    ManifestError,
    identify,
    iterate_manifest,
    shown,
    write_manifest,
)
from somnoflow.models.errors import WeightsError
from somnoflow.plan import Plan

DATASETS = Path("workflow/datasets")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a subcommand; mistakes of the user end in one message and exit code 2."""
    options = _parser().parse_args(arguments)
    try:
        code = options.run(options)
    except (ConfigError, ManifestError, WeightsError, OSError) as error:
        sys.stderr.write(f"somnoflow {options.command}: {error}\n")
        raise SystemExit(2) from error
    raise SystemExit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="somnoflow",
        description="From overnight recordings to sleep models, honest evaluations and a report.",
        epilog="The whole workflow runs with: snakemake --cores 8 all",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    config = commands.add_parser(
        "config", help="print the configuration with all defaults filled in"
    )
    _add_configuration(config)
    config.add_argument(
        "--document",
        choices=sorted(DOCUMENTS),
        help="print this document made from the configuration's definition instead",
    )
    config.set_defaults(run=_config)

    check = commands.add_parser(
        "check", help="say which results are fresh and which are stale, and why"
    )
    _add_configuration(check)
    check.add_argument("--stale", action="store_true", help="list only what is not fresh")
    check.set_defaults(run=_check)

    manifest = commands.add_parser(
        "manifest", help="write the manifest of a folder of recordings, or compare sizes with it"
    )
    manifest.add_argument("folder", type=Path, nargs="?", help="folder with the recordings")
    manifest.add_argument("--dataset", required=True, help="folder of workflow/datasets")
    manifest.add_argument("--output", type=Path, help="the manifest, where not beside dataset.yaml")
    way = manifest.add_mutually_exclusive_group()
    way.add_argument(
        "--check", action="store_true", help="only compare the folder with the manifest, by sizes"
    )
    way.add_argument(
        "--sums", type=Path, help="take the sums from this SHA256SUMS, without the recordings"
    )
    manifest.add_argument(
        "--records", type=Path, help="require just the recordings that this RECORDS names"
    )
    manifest.set_defaults(run=_manifest)

    inspect = commands.add_parser(
        "inspect", help="say what a folder of recordings holds, and how to use it"
    )
    inspect.add_argument("folder", type=Path, help="folder with the recordings")
    inspect.add_argument(
        "--all", action="store_true", help=f"read all headers and annotations, not {MOST} of a kind"
    )
    inspect.add_argument("--json", action="store_true", help="print the same for machines")
    inspect.add_argument(
        "--write", metavar="NAME", help="draft workflow/datasets/NAME/dataset.yaml for this folder"
    )
    inspect.set_defaults(run=_inspect)

    convert = commands.add_parser(
        "convert", help="make an encoder of a published checkpoint, or the other way round"
    )
    convert.add_argument("file", type=Path, help="checkpoint (.pth, .pt, .ckpt) or .safetensors")
    convert.add_argument("--to", type=Path, required=True, metavar="OUT", help="file to write")
    convert.add_argument(
        "--channel",
        choices=get_args(Channel),
        metavar="CHANNEL",
        help="what a published NeuroNet was trained on, such as EEG_C4",
    )
    convert.set_defaults(run=_convert)

    embed = commands.add_parser(
        "embed", help="give every epoch of some nights its embedding from a trained encoder"
    )
    embed.add_argument(
        "recordings", type=Path, nargs="+", help="recordings, or folders with recordings"
    )
    embed.add_argument(
        "--encoder", type=Path, required=True, help="encoder.safetensors of a training or convert"
    )
    embed.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER",
        help="folder for a Parquet file of each recording, and for rejected.tsv",
    )  # fmt: skip
    _add_reading(embed)
    embed.add_argument("--batch-size", type=_positive, default=64, help="epochs at a time")
    embed.add_argument(
        "--force", action="store_true", help="make files again that are there already"
    )
    embed.set_defaults(run=_embed)

    _add_score(commands)
    _add_models(commands)
    _add_agree(commands)

    explain = commands.add_parser(
        "explain", help="show where in some epochs of a night a model finds its answer"
    )
    explain.add_argument("recording", type=Path, help="EDF, BDF, FIF or BrainVision recording")
    explain.add_argument(
        "--model", type=Path, required=True,
        help="bundle (folder or zip), model.safetensors of a supervised or fine-tuned model, or "
        "encoder.safetensors",
    )  # fmt: skip
    explain.add_argument(
        "--head", type=Path, help="head.safetensors that stands on the encoder, where there is one"
    )
    explain.add_argument(
        "--epochs", type=_epochs, required=True, metavar="FIRST-LAST",
        help="epochs to explain, numbered from 0, such as 120-130 or 120",
    )  # fmt: skip
    explain.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER",
        help="folder for the page, a drawing of each epoch, and the table of the heat",
    )  # fmt: skip
    explain.add_argument(
        "--stage", help="class that the heat is to be of, such as N2; else each epoch's likeliest"
    )
    _add_reading(explain)
    explain.set_defaults(run=_explain)
    return parser


def _add_score(commands: Any) -> None:
    score = commands.add_parser(
        "score", help="give every epoch of some nights its stage, or its event, from a model"
    )
    score.add_argument(
        "recordings", type=Path, nargs="+", help="recordings, or folders with recordings"
    )
    score.add_argument(
        "--model", action="append", default=[], metavar="MODEL",
        help="bundle (folder or zip), name of a shipped one, or weights of a training; several "
        "times for stages and events together; the shipped default without it",
    )  # fmt: skip
    score.add_argument("--encoder", type=Path, help="encoder.safetensors that a head stands on")
    score.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER",
        help="folder for the files of each recording, and for rejected.tsv",
    )  # fmt: skip
    score.add_argument(
        "--formats", type=_words, metavar="NAMES",
        help="what is written, such as csv,edf: csv, edf, xml, bids, yasa, html; all without it",
    )  # fmt: skip
    score.add_argument(
        "--channels", type=_words, metavar="NAMES",
        help="channels that the model is given, such as EEG_C4,EEG_C3; all of its kind without it",
    )  # fmt: skip
    score.add_argument(
        "--no-vote", dest="vote", action="store_false",
        help="give a model of one channel only one, and not each of its kind",
    )  # fmt: skip
    score.add_argument(
        "--map", type=_meaning, action="append", default=[], metavar="LABEL=CHANNEL",
        help="what a label of the recordings means, such as 'EEG 1=EEG_C4'; may be given often",
    )  # fmt: skip
    _add_reading(score)
    score.add_argument(
        "--stride", type=_positive, help="step between windows in epochs; the model's without it"
    )
    score.add_argument(
        "--threshold", type=_share,
        help="probability that makes an event; the bundle's, or 0.5, without it",
    )  # fmt: skip
    score.add_argument(
        "--jobs", type=_positive, help="processes; as many as there are CPUs without it"
    )
    score.add_argument(
        "--force", action="store_true", help="make files again that are there already"
    )
    score.set_defaults(run=_score)


def _add_agree(commands: Any) -> None:
    agree = commands.add_parser(
        "agree", help="compare several scorings of the same nights, epoch by epoch and in all"
    )
    agree.add_argument(
        "scorings", type=Path, nargs="+", metavar="SCORING",
        help="two or more scorings of one night; or a folder for each scorer; or one table with "
        "the columns recording, scorer, epoch, stage and perhaps cohort",
    )  # fmt: skip
    agree.add_argument(
        "--labels", nargs="+", default=[], metavar="DATASET",
        help="folder of workflow/datasets that says what labels mean, for all or for each SCORING; "
        "DATASET:SCORER for one of its other scorings; - where they are recognised",
    )  # fmt: skip
    agree.add_argument(
        "--names", nargs="+", default=[], metavar="NAME",
        help="names of the scorers, one for each SCORING; after their files without it",
    )  # fmt: skip
    agree.add_argument(
        "--ties", choices=("drop", "soft"), default="drop",
        help="an epoch with a tied vote is left out, or goes to the more trusted scorer",
    )  # fmt: skip
    agree.add_argument(
        "--without-vote", nargs="+", default=[], metavar="NAME",
        help="scorers, such as models, that are judged but have no vote in the consensus",
    )  # fmt: skip
    agree.add_argument("--out", type=Path, metavar="FOLDER", help="folder for CSV tables and JSON")
    agree.set_defaults(run=_agree)


def _add_models(commands: Any) -> None:
    models = commands.add_parser(
        "models", help="list the bundles of models that `somnoflow score` takes"
    )
    models.add_argument(
        "folder", type=Path, nargs="?",
        help="folder with bundles; results/bundles without it. With --card, a bundle: its name in "
        "the list, or its path",
    )  # fmt: skip
    way = models.add_mutually_exclusive_group()
    way.add_argument("--card", action="store_true", help="print the model card of one bundle")
    way.add_argument("--json", action="store_true", help="print the list for machines")
    models.set_defaults(run=_models)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset",
        help="folder of workflow/datasets that says what the labels of the recordings mean; "
        "without it common names are looked up",
    )
    parser.add_argument(
        "--configfile", type=Path, nargs="+", default=[],
        help="configuration whose sections `signals` and `pack` the model was trained with; "
        "without it their defaults",
    )  # fmt: skip


def _epochs(text: str) -> range:
    first, dash, last = text.partition("-")
    numbers = [first, last] if dash else [first]
    if not all(number.isdecimal() for number in numbers) or int(numbers[-1]) < int(first):
        raise argparse.ArgumentTypeError(f"found {text}, wanted epochs such as 120-130 or 120")
    return range(int(first), int(numbers[-1]) + 1)


def _share(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 < found < 1:
        raise argparse.ArgumentTypeError(f"found {text}, wanted a number between 0 and 1")
    return found


def _words(text: str) -> list[str]:
    return [word for word in map(str.strip, text.split(",")) if word]


def _meaning(text: str) -> tuple[str, str]:
    label, equals, channel = text.rpartition("=")
    if not equals or not label.strip():
        raise argparse.ArgumentTypeError(f"found {text}, wanted LABEL=CHANNEL: EEG 1=EEG_C4")
    return label, channel.strip()


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text}, wanted a number, at least 1")
    return int(text)


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--configfile",
        type=Path,
        nargs="+",
        default=[],
        help="further configurations laid over config.yaml, as with snakemake --configfile",
    )


def _config(options: argparse.Namespace) -> int:
    if options.document:
        sys.stdout.write(document(options.document))
        return 0
    config = read_config(load_values(options.configfile))
    sys.stdout.write(DOCUMENTS["yaml"](config))
    return 0


def _check(options: argparse.Namespace) -> int:
    plan = Plan(load_values(options.configfile), datasets=DATASETS)
    judged = judge(plan)
    shown = [line for line in judged if not options.stale or line.verdict is not Verdict.FRESH]
    for line in shown:
        reason = f"  {line.reason}" if line.reason else ""
        sys.stdout.write(f"{line.verdict.value:8}{line.artefact.path}{reason}\n")
    fresh = sum(line.verdict is Verdict.FRESH for line in judged)
    sys.stdout.write(f"{fresh} of {len(judged)} artefacts are fresh\n")
    return 0 if fresh == len(judged) else 1


def _manifest(options: argparse.Namespace) -> int:
    dataset = read_dataset(DATASETS / options.dataset)
    output = options.output or DATASETS / options.dataset / "manifest.tsv"
    if options.folder is None and (options.check or options.sums is None):
        raise ManifestError("wanted FOLDER, the folder with the recordings; only --sums needs none")
    if options.check:
        return _compare(options.folder, manifest=output, dataset=dataset)
    if options.sums is not None:
        made = manifest_of_sums(options.sums, dataset, folder=options.folder)
    else:
        made = make_manifest(options.folder, dataset)
    if options.records is not None:
        require_records(made.rows, options.records)
    with atomic(output) as path:
        write_manifest(path, made.rows)
    subjects = {row.subject for row in made.rows}
    signals = sum(row.role == "signal" for row in made.rows)
    sys.stdout.write(
        f"{output}: {len(made.rows)} files, {signals} recordings of {len(subjects)} subjects\n"
    )
    for name in made.left_out:
        sys.stdout.write(f"not taken (no pattern of dataset.yaml fits): {shown(name)}\n")
    return 0


def _compare(folder: Path, *, manifest: Path, dataset: Dataset) -> int:
    patterns = dataset.patterns()
    wrong = unknown = 0
    for difference in compare_sizes(iterate_manifest(manifest), folder):
        # Readme and licence stand in no manifest; a recording should.
        if difference.extra and identify(difference.file, patterns) is None:
            unknown += 1
            continue
        wrong += 1
        sys.stdout.write(f"{difference.problem}: {shown(difference.file)}\n")
    sys.stdout.write(
        f"{folder} against {manifest}: {wrong} files are not as they should be; {unknown} others "
        "fit no pattern of dataset.yaml\n"
    )
    return 1 if wrong else 0


def _inspect(options: argparse.Namespace) -> int:
    named = options.write is not None
    written = DATASETS / options.write / "dataset.yaml" if named else None
    if written is not None and written.exists():
        raise ConfigError(f"{written} is there already. Wanted: another name after --write")
    findings = inspect_folder(
        options.folder,
        datasets=read_datasets(DATASETS),
        most=None if options.all else MOST,
        name=options.write if named else "mylab",
    )
    if written is not None:
        if findings.draft is None:
            raise ConfigError(f"{options.folder} holds no recordings that a dataset could describe")
        with atomic(written) as path:
            path.write_text(findings.draft.text, encoding="utf-8")
        findings = findings.as_drafted()
    steps = next_steps(findings, datasets=DATASETS, written=written)
    text = as_json(findings, steps=steps) if options.json else describe(findings, steps=steps)
    sys.stdout.write(text)
    return 0


def _convert(options: argparse.Namespace) -> int:
    # Torch takes a second to import, and no other subcommand needs it.
    from somnoflow.models.convert import convert  # noqa: PLC0415

    said = convert(options.file, options.to, channel=options.channel)
    sys.stdout.write(f"{said}\n")
    return 0


def _embed(options: argparse.Namespace) -> int:
    # As in _convert.
    from somnoflow.embed import embed_nights  # noqa: PLC0415

    rejected = embed_nights(
        options.recordings,
        encoder=options.encoder,
        out=options.out,
        batch_size=options.batch_size,
        force=options.force,
        **_reading(options),
    )
    return 1 if rejected else 0


def _score(options: argparse.Namespace) -> int:
    # As in _convert. Importing makes very many objects and frees none: looking for what could be
    # collected among them, here and once more at the end, would take a second.
    gc.disable()
    from somnoflow.scoring.choice import Settings, make_choice  # noqa: PLC0415
    from somnoflow.scoring.folder import FORMATS, score_nights  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    read = _reading(options)
    source = read["settings_from"] if options.configfile else None
    try:
        rejected = score_nights(
            options.recordings,
            models=options.model,
            encoder=options.encoder,
            settings=Settings(read["signals"], read["pack"], source),
            choice=make_choice(
                reading=read["reading"],
                names=dict(options.map),
                channels=options.channels,
                vote=options.vote,
                stride=options.stride,
                threshold=options.threshold,
            ),
            out=options.out,
            formats=FORMATS if options.formats is None else options.formats,
            jobs=options.jobs,
            force=options.force,
        )
    except KeyboardInterrupt:
        sys.stderr.write(
            f"somnoflow score: stopped. Nights that were done are whole in {options.out}; the same "
            "command goes on with the others\n"
        )
        return 130
    return 1 if rejected else 0


def _agree(options: argparse.Namespace) -> int:
    # As in _convert: what reads tables is not needed by others.
    from somnoflow.agree import agree  # noqa: PLC0415

    said = agree(
        options.scorings,
        labels=options.labels,
        datasets=DATASETS,
        names=options.names,
        without_vote=options.without_vote,
        ties=options.ties,
        out=options.out,
    )
    sys.stdout.write(said)
    return 0


def _models(options: argparse.Namespace) -> int:
    # As in _convert: what describes bundles takes a quarter of a second.
    from somnoflow.bundles.listing import (  # noqa: PLC0415
        as_table,
        find_card,
        list_bundles,
        list_for_machines,
    )

    if options.card and options.folder is None:
        raise WeightsError("--card wants a bundle: its name, as `somnoflow models` lists it")
    if options.card:
        sys.stdout.write(find_card(options.folder))
        return 0
    bundles = list_bundles(options.folder)
    sys.stdout.write(list_for_machines(bundles) if options.json else as_table(bundles))
    return 1 if any(one.problem for one in bundles) else 0


def _explain(options: argparse.Namespace) -> int:
    # As in _convert.
    from somnoflow.bundles.bundle import is_bundle  # noqa: PLC0415
    from somnoflow.explain_night import explain_night  # noqa: PLC0415

    if is_bundle(options.model) and (options.configfile or options.head):
        raise ConfigError(
            f"{options.model} is a bundle, which has its own head and says itself how its signals "
            "are made. Wanted: without --head and --configfile"
        )
    lost = explain_night(
        options.recording,
        files=[path for path in (options.model, options.head) if path],
        wanted=options.epochs,
        asked=options.stage,
        out=options.out,
        **_reading(options),
    )
    return 1 if lost else 0


def _reading(options: argparse.Namespace) -> dict[str, Any]:
    """Give the arguments that say how recordings are read, from the options of `_add_reading`."""
    named = options.configfile
    config = read_config(load_values(named[1:], default=named[0]) if named else {})
    reading = Reading(guess_channels=True)
    if options.dataset:
        reading = read_dataset(DATASETS / options.dataset).reading
    return {
        "reading": reading,
        "signals": config.signals,
        "pack": config.pack,
        "settings_from": " and ".join(map(str, named)) or "the defaults, no --configfile was given",
    }


if __name__ == "__main__":
    main()
