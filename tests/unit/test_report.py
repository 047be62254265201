"""The report from small made-up results: complete, self-contained, escaped, honest when empty.

Run as a program, `python tests/unit/test_report.py FOLDER`, it writes made-up results of eight
whole nights and two models into a folder, and the page made of them, to be looked at.
"""

import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from somnoflow.commands.compare import compare
from somnoflow.commands.evaluate import evaluate
from somnoflow.commands.report import report
from somnoflow.config.compare import CompareSlice
from somnoflow.config.evaluate import Evaluate
from somnoflow.config.report import ReportSlice
from somnoflow.config.signals import Signals
from somnoflow.evaluate.confusion import PROBABILITIES
from somnoflow.fingerprint import closure, data_files
from somnoflow.io.digest import sha256_file
from somnoflow.report.figures import COLOURS, density_image, on_grid
from somnoflow.report.files import Files
from somnoflow.report.sources import read_models, read_runs
from somnoflow.report.tables import make_table
from somnoflow.signals.quality import Flag
from somnoflow.stages import STAGE_NAMES

MODELS = ("neuronet/EEG_C4/linear", "neuronet/EEG_C4/knn")
TITLES = (
    "NeuroNet, EEG_C4: frozen, linear probe",
    "NeuroNet, EEG_C4: frozen, nearest neighbours",
)
WHOLE = "task=staging/labels=all"
SCRIPT = "<script>alert(1)</script>"
LABELS = {
    "EEG_C4": "C4-A1", "EEG_C3": "C3-A2", "EMG_CHIN": "EMG Chin", "ECG": "ECG", "SPO2": "SaO2",
}  # fmt: skip
FLAGS = {
    "missing": Flag.MISSING, "zero": Flag.ZERO, "flat": Flag.FLAT, "clipped": Flag.CLIPPED,
    "out_of_range": Flag.OUT_OF_RANGE, "line_noise": Flag.LINE_NOISE,
    "disconnected": Flag.DISCONNECTED,
}  # fmt: skip


class Results:
    """Made-up results of a cohort in the folders that the workflow uses."""

    def __init__(
        self, folder, *, nights=4, epochs=60, folds=2, models=MODELS, simulated=True, skills=None
    ):
        self.root = folder / "results"
        self.folder = folder
        folder.mkdir(exist_ok=True)
        rng = np.random.default_rng(7)
        self.subjects = [f"sim/s{k:02d}" for k in range(nights)]
        self.stages = [night(rng, epochs) for _ in range(nights)]
        self.flags = [night_flags(k, epochs) for k in range(nights)]
        fold_of = [k % folds for k in range(nights)]
        self.inputs = {
            "recordings": self._recordings(epochs, simulated=simulated),
            "rejected": self._rejected(),
            "channels": self._channels(epochs),
            "packed": [self.pack()],
            "split": self._split(fold_of, folds),
            "metrics": [],
            "calibrations": [],
            "predictions": [],
            "training": [self._pretraining(rng, fold) for fold in range(folds if models else 0)],
            "curves": [],
            "counts": [],
            "ablations": [],
            "projections": [],
            "explanations": [],
        }
        for k, model in enumerate(models):
            self._model(rng, model, fold_of, skill=0.62 + 0.12 * k if skills is None else skills[k])

    def page(self, *, hypnograms=1, quality_recordings=2, **cfg):
        path = self.folder / "report.html"
        cfg = ReportSlice(
            hypnograms=hypnograms, quality_recordings=quality_recordings, signals=Signals(), **cfg
        )
        report(
            **self.inputs, comparison=self.compare(), page=path,
            contents=self.folder / "contents.json", cfg=cfg,
        )  # fmt: skip
        return path.read_text(encoding="utf-8")

    def compare(self, *, models=(), **cfg):
        """Write the table of all models; give the path of the CSV."""
        table = self.root / "comparison" / "comparison.csv"
        table.parent.mkdir(parents=True, exist_ok=True)
        facts = {
            "datasets": {"sim": None}, "wake_margin_minutes": None, "recipes": {},
        }  # fmt: skip
        compare(
            metrics=self.inputs["metrics"], models=list(models), table=table,
            judged=[path.with_name("recordings.tsv") for path in self.inputs["metrics"]],
            recordings=self.inputs["recordings"], split=self.inputs["split"],
            tex=table.with_suffix(".tex"), html=table.with_suffix(".html"),
            cfg=CompareSlice(**facts | cfg),
        )  # fmt: skip
        return table

    def change(self, name, **columns):
        """Replace columns of the first row of a table."""
        path = self.inputs[name]
        table = pl.read_csv(path, separator="\t", infer_schema=False)
        first = pl.int_range(pl.len()) == 0
        table.with_columns(
            pl.when(first).then(pl.lit(text)).otherwise(column).alias(column)
            for column, text in columns.items()
        ).write_csv(path, separator="\t")

    def _write(self, name, rows, columns=None):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(rows, schema=columns, orient="row").write_csv(path, separator="\t")
        return path

    def _recordings(self, epochs, *, simulated):
        rows = []
        for k, (subject, stage) in enumerate(zip(self.subjects, self.stages, strict=True)):
            rows.append(
                {
                    "dataset": "sim", "subject": subject, "recording": f"{subject[4:]}n1",
                    "night": "1", "start": f"2001-01-{k % 31 + 1:02d}T22:3{k % 10}:00",
                    "hours": epochs * 30 / 3600, "epochs": epochs,
                    "scored": int((stage >= 0).sum()), "unscored": int((stage < 0).sum()),
                    **{name: int((stage == i).sum()) for i, name in enumerate(STAGE_NAMES)},
                    "flat": 3 if k == 1 else 0, "lights_off_s": "" if k == 3 else 600 + 60.5 * k,
                    "lights_on_s": "" if k else epochs * 30 - 600,
                    "sleep_minutes": (stage > 0).sum() / 2, "ahi": "" if k == 2 else 7.25 + k,
                    "simulated": simulated,
                    "notes": "annotation ends 12 epochs before the signal" if k == 2 else "",
                }
            )  # fmt: skip
        return self._write("signals/recordings.tsv", rows)

    def _rejected(self):
        row = {
            "dataset": "sim", "file": "s99n1.edf", "recording": "s99n1", "stage": "parse",
            "problem": "no EEG channel", "found": "ECG, SaO2", "wanted": "one of EEG_C4, EEG_C3",
            "advice": "Add the label to channels.aliases of the data set, if it is an EEG.",
        }  # fmt: skip
        return self._write("signals/rejected.tsv", [row])

    def _channels(self, epochs):
        rows = []
        for k, (subject, channels) in enumerate(zip(self.subjects, self.flags, strict=True)):
            identity = {"dataset": "sim", "recording": f"{subject[4:]}n1"}
            for channel, flags in channels.items():
                missing = bool((flags == Flag.MISSING).all())
                kept = flags[:0] if missing else flags
                rows.append(
                    identity
                    | {
                        "channel": channel, "source": "" if missing else LABELS[channel],
                        "unit": "" if missing else "uV",
                        "sampling_rate": "" if missing else "128",
                        "amplitude": "" if missing else "23.4", "epochs": len(kept),
                        **{name: int((kept & flag > 0).sum()) for name, flag in FLAGS.items()},
                        "problem": "no label of the file matches" if missing else "",
                        "remark": "no unit in the header; taken as uV" if k == 2 else "",
                    }
                )  # fmt: skip
            offered = {"channel": "", "source": "Pleth", "unit": "", "sampling_rate": "64"}
            rest = dict.fromkeys(["amplitude", "epochs", *FLAGS, "problem"], "")
            rows.append(identity | offered | rest | {"remark": "not used"})
        columns = list(rows[0])
        return self._write("signals/channels.tsv", [[str(r[c]) for c in columns] for r in rows],
                           columns)  # fmt: skip

    def pack(self):
        """Write the epoch table and its index anew."""
        frames = []
        for k, (subject, stage, flags) in enumerate(
            zip(self.subjects, self.stages, self.flags, strict=True)
        ):
            first = len(stage) // 9 * (k == 1)
            number = np.arange(first, len(stage), dtype=np.int32)
            frames.append(
                pl.DataFrame(
                    {"dataset": "sim", "subject": subject, "recording": f"{subject[4:]}n1",
                     "night": 1, "epoch": number, "onset_s": 30.0 * number,
                     "stage": stage[first:].astype(np.int8),
                     **{f"{name}_quality": found[first:] for name, found in flags.items()}}
                )
            )  # fmt: skip
        folder = self.root / "packed" / "dataset=sim" / "shard=0"
        folder.mkdir(parents=True, exist_ok=True)
        pl.concat(frames).write_parquet(folder / "epochs.parquet")
        digest = sha256_file(folder / "epochs.parquet")
        index = folder / "index.json"
        index.write_text(json.dumps({"sha256": {"epochs.parquet": digest}}))
        return index

    def _split(self, fold_of, folds):
        content = []
        for fold in range(folds):
            test = [s for s, f in zip(self.subjects, fold_of, strict=True) if f == fold]
            rest = [s for s in self.subjects if s not in test]
            content.append(
                {"fold": fold, "test": test, "val": rest[:1], "train": rest[1:],
                 "pretrain": rest[1:]}
            )  # fmt: skip
        path = self.root / "split" / "split.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"folds": content}))
        return path

    def _pretraining(self, rng, fold):
        passes = np.arange(1, 13)
        loss = 2 + 3 * np.exp(-passes / 4) + rng.normal(0, 0.05, 12)
        table = pl.DataFrame(
            {"pass": passes, "train_loss": loss, "reconstruction": loss / 2,
             "val_loss": loss + 0.2 + 0.02 * np.maximum(0, passes - 8) ** 1.5,
             "learning_rate": 1e-4, "best": passes == 8}
        )  # fmt: skip
        return self._training(f"pretrain/neuronet/EEG_C4/fold={fold}", table)

    def _training(self, folder, table):
        path = self.root / folder / "training.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.write_csv(path)
        return path

    def _model(self, rng, model, fold_of, skill):
        paths = []
        for fold in sorted(set(fold_of)):
            frames = [
                scores(rng, stage, subject, fold, skill + 0.08 * rng.normal())
                for subject, stage, mine in zip(self.subjects, self.stages, fold_of, strict=True)
                if mine == fold
            ]
            path = self.root / "scores" / model / WHOLE / f"fold={fold}" / "predictions.parquet"
            path.parent.mkdir(parents=True)
            pl.concat(frames).write_parquet(path)
            paths.append(path)
            passes = np.arange(1, 21)
            curve = pl.DataFrame(
                {"pass": passes, "train_loss": 1.5 * np.exp(-passes / 6) + 0.4,
                 "val_loss": 1.5 * np.exp(-passes / 6) + 0.6 + 0.01 * passes,
                 "best": (passes == 14).astype(int)}
            )  # fmt: skip
            if model.endswith("knn"):
                # As head.py writes it: one row, and no loss in it.
                nothing = pl.lit(None, pl.Float64)
                curve = curve.head(1).with_columns(train_loss=nothing, val_loss=nothing)
                curve = curve.head(fold_of.index(fold) % 2)
            self.inputs["training"].append(
                self._training(f"heads/{model}/{WHOLE}/fold={fold}", curve)
            )
        metrics = self.root / "metrics" / model / WHOLE / "metrics.json"
        metrics.parent.mkdir(parents=True)
        evaluate(
            predictions=paths,
            metrics=metrics,
            recordings=metrics.with_name("recordings.tsv"),
            calibration=metrics.with_name("calibration.json"),
            cfg=Evaluate(resamples=200),
        )
        self.inputs["predictions"] += paths
        self.inputs["metrics"].append(metrics)


def night_flags(k, epochs):
    """Make the quality bits of one night: worse for a larger k, and the fourth has no chin EMG."""
    flags = {channel: np.zeros(epochs, np.uint8) for channel in LABELS}
    place = np.arange(epochs) * 100 // epochs
    flags["EEG_C3"][place < 3] = Flag.FLAT | Flag.ZERO
    flags["EEG_C3"][(place > 40) & (place < 41 + 2 * k)] = Flag.DISCONNECTED
    flags["EMG_CHIN"][place % 25 == 7] = Flag.CLIPPED | Flag.OUT_OF_RANGE
    flags["ECG"][place > 90 - k] = Flag.LINE_NOISE
    flags["ECG"][epochs // 90] = Flag.OUT_OF_RANGE
    flags["SPO2"][(place > 60) & (place < 62 + k)] = Flag.FLAT
    for channel in flags if k == 2 else []:
        flags[channel][(place > 50) & (place < 56)] = Flag.MISSING
    if k % 4 == 3:
        flags["EMG_CHIN"][:] = Flag.MISSING
    return flags


def night(rng, epochs):
    """Make stages that stay, in cycles; the last one in forty is unscored."""
    order = [0, 1, 2, 3, 2, 4]
    stage, k = [], 0
    while len(stage) < epochs:
        stage += [order[k % 6]] * int(rng.integers(3, 22))
        k += 1
    stage = np.array(stage[:epochs])
    stage[-(epochs // 40 + 1) :] = -1
    return stage


def scores(rng, stage, subject, fold, skill):
    n = len(stage)
    # Errors come in runs, as they do in real nights.
    drift = rng.normal(0, 1, (n + 8, 6)).cumsum(axis=0)
    drift = (drift[8:] - drift[:-8]) / np.sqrt(8)
    logits = 1.2 * drift[:, :5]
    sure = drift[:, 5] <= np.quantile(drift[:, 5], min(skill, 0.97))
    logits[np.arange(n), stage.clip(0)] += np.where(sure, 4, 0.5)
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    usable = np.ones(n, bool)
    usable[n // 2 : n // 2 + n // 30] = False
    frame = pl.DataFrame(
        {
            "dataset": "sim",
            "subject": subject,
            "recording": f"{subject[4:]}n1",
            "epoch": np.arange(n, dtype=np.int32),
            "onset_s": 30.0 * np.arange(n),
            "fold": np.full(n, fold, dtype=np.int32),
            "role": "test",
            "stage": stage.astype(np.int8),
            "usable": usable,
            "predicted": np.where(usable, probability.argmax(axis=1), -1).astype(np.int8),
            **{name: probability[:, k].astype(np.float32) for k, name in enumerate(PROBABILITIES)},
        }
    )
    return frame.with_columns(
        pl.when("usable").then(pl.col(name)).alias(name) for name in PROBABILITIES
    )


class Reader(HTMLParser):
    """Collects tags, ids, links, pictures and text, and checks that tags are closed."""

    EMPTY = frozenset({"meta", "img", "br", "link", "hr"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.images, self.links, self.text = [], [], [], [], [], ""
        self.attributes = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs.items()]
        if tag == "img":
            self.images.append(attrs)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag == "a":
            self.links.append(attrs["href"])
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data


def walk(path):
    """Give the points of straight lines that are written as steps, shape (n, 2)."""
    points, here = [], np.zeros(2)
    for letter, numbers in re.findall(r"([Ml])([^MlLz]*)", path):
        for k, step in enumerate(np.array(re.findall(r"-?[\d.]+", numbers), float).reshape(-1, 2)):
            here = step if letter == "M" and k == 0 else here + step
            points.append(here)
    return np.array(points)


def drawing(image):
    return base64.b64decode(image["src"].partition("base64,")[2]).decode()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return Results(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(results):
    return results.page(title="Our nights", hypnograms=8)


def test_page_is_whole_and_navigable(page):
    reader = Reader(page)
    assert reader.tags.count("h1") == 1
    assert len(reader.ids) == len(set(reader.ids))
    inside = {link[1:] for link in reader.links if link.startswith("#")}
    assert inside <= set(reader.ids)
    sections = (
        "summary", "comparison", "cohort", "rejected", "channels", "quality", "split", "results",
        "labels", "hypnograms", "explanations", "training", "methods", "deviations", "provenance",
        "versions", "reading",
    )  # fmt: skip
    for section in sections:
        assert f"#{section}" in reader.links
    regions = [value for _, name, value in reader.attributes if name == "tabindex"]
    assert set(regions) == {"0"}


def test_each_figure_and_table_lies_beside_the_page(results):
    stale = results.folder / "figures/of-an-earlier-page.svg"
    stale.parent.mkdir(exist_ok=True)
    stale.write_text("<svg/>")
    reader = Reader(results.page(hypnograms=8))
    digests = json.loads((results.folder / "contents.json").read_text())["sha256"]
    linked = [link for link in reader.links if not link.startswith("#")]
    assert sorted(linked) == sorted(digests)
    assert reader.tags.count("figure") == len(linked)
    for path, digest in digests.items():
        assert sha256_file(results.folder / path) == digest
        assert re.fullmatch(r"(figures/[\w-]+\.svg|tables/[\w-]+\.csv)", path)
    on_disk = {f"{p.parent.name}/{p.name}" for p in results.folder.glob("[ft]*/*.*")}
    assert on_disk == set(digests)
    svg = [ElementTree.parse(p) for p in results.folder.glob("figures/*.svg")]  # noqa: S314 - ours
    assert len(svg) == len(reader.images)
    recordings = pl.read_csv(results.folder / "tables/recordings.csv")
    assert recordings["Recording"].to_list() == [f"s{k:02d}n1" for k in range(4)]
    confusion = pl.read_csv(
        results.folder / "tables/confusion-neuronet-EEG-C4-linear-task-staging.csv"
    )
    metrics = json.loads(results.inputs["metrics"][0].read_text())
    assert list(confusion.row(2)[1:]) == metrics["pooled"]["confusion_matrix"][2]


def test_a_file_of_a_long_table_holds_all_rows_and_plain_numbers():
    rows = [[f"s{k}", "\N{MINUS SIGN}0.100", "\N{EN DASH}"] for k in range(300)]
    files = Files()
    made = make_table("Long.", columns=["Subject", "Gap", "p"], rows=rows, groups=["a"] * 300)
    paths = [files.table(name, made) for name in ("one/two", "one_two")]
    assert paths == ["tables/one-two.csv", "tables/one-two-2.csv"]
    lines = files.content[paths[0]].decode().splitlines()
    assert lines[:2] == ["Group,Subject,Gap,p", "a,s0,-0.100,"]
    assert len(lines) == 301


def test_page_loads_nothing_and_runs_nothing(page):
    reader = Reader(page)
    assert not {"script", "link", "iframe", "object", "embed"} & set(reader.tags)
    assert not re.search(r"https?://", page)
    assert "url(" not in page
    assert "default-src 'none'" in page
    for image in reader.images:
        assert image["src"].startswith("data:image/svg+xml;base64,")
        outside = re.findall(r"""(?:href|src)=["']([^"'#][^"']*)""", drawing(image))
        assert all(address.startswith("data:image/png") for address in outside)
    assert len(page) < 2e6


def test_networks_without_a_loss_are_named_and_not_drawn(page):
    assert f"holds no loss per pass: {TITLES[1]}." in page
    assert page.count('alt="Training and validation loss') == 2
    assert "pass 8 of 12 chosen" in page


def test_every_picture_has_a_text(page):
    images = Reader(page).images
    # F1, sizes, stages, quality of two nights, stack, two models x four nights, pre-training,
    # linear head
    assert len(images) == 3 + 2 + 1 + 8 + 2
    assert all(len(image["alt"]) > 40 for image in images)
    assert all(int(image["width"]) and int(image["height"]) for image in images)


def test_simulated_is_said_on_top_and_in_each_caption(page, tmp_path):
    assert "SIMULATED DATA: these numbers say nothing about real nights" in page
    sections = [page.index(f'id="{name}"') for name in ("summary", "rejected", "results",
                                                        "methods")]  # fmt: skip
    shown = page[sections[0] : sections[1]] + page[sections[2] : sections[3]]
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", shown, flags=re.DOTALL)
    # 14 pictures, headline, four of the comparison, recordings, three per model, kappas
    assert len(captions) == 14 + 1 + 4 + 1 + 6 + 1
    data = page[page.index('id="channels"') : page.index('id="split"')]
    # Remarks, channels, labels not used, each channel; shares, two pictures
    assert data.count("<figcaption>") == data.count('class="badge">simulated<') == 4 + 3
    assert all('class="badge">simulated<' in caption for caption in captions)
    real = Results(tmp_path, models=(), simulated=False).page()
    assert "SIMULATED" not in real
    assert 'class="badge"' not in real


def test_partly_simulated_cohort(tmp_path):
    results = Results(tmp_path, models=MODELS[:1], folds=4)
    results.change("recordings", simulated="false")
    text = results.page(hypnograms=4)
    assert "3 recordings of this cohort come from a simulation" in text
    assert 'class="badge">partly simulated<' in text
    nights = text[text.index('id="hypnograms"') : text.index('id="training"')]
    # Three of the four nights, and the stack unless its night is the recorded one.
    drawn = nights[nights.index("Nights from the worst") :]
    assert drawn.count('class="badge">simulated<') == 3


def test_numbers_of_the_metrics_are_on_the_page(results, page):
    for path, model, title in zip(results.inputs["metrics"], MODELS, TITLES, strict=True):
        content = json.loads(path.read_text())
        low, high = content["intervals"]["macro_f1"]
        macro = f"{content['pooled']['macro_f1']:.3f} [{low:.3f}, {high:.3f}]"
        assert macro in page
        assert f"always {content['baseline']['stage']}" in page
        counts = content["counts"]
        assert f"{counts['scored']:,} of {counts['epochs']:,} test epochs compared" in page
        assert f'title="{model}/task=staging"' in page
        assert title in Reader(page).text
        diagonal = content["pooled"]["confusion_matrix"][2][2]
        assert f"<small>{diagonal:,}</small>" in page
    assert "Only 4 test subjects" in page


def test_rejected_and_flagged_are_listed_with_reason_and_advice(page):
    text = Reader(page).text
    for words in ("s99n1.edf", "no EEG channel", "Add the label to channels.aliases",
                  "annotation ends 12 epochs before the signal",
                  "no label of the file matches"):  # fmt: skip
        assert words in text


def test_a_file_that_no_manifest_names_is_listed_and_not_called_rejected(tmp_path):
    results = Results(tmp_path, models=(), nights=1)
    results.change("rejected", stage="extra", file="stray.txt", advice="Add it, or ignore it")
    text = Reader(results.page()).text
    assert "None: every file of the cohort was used." in text
    assert "1 file in the folders that no row of a manifest names" in text
    assert "stray.txt" in text


def test_nothing_rejected_is_said_plainly(tmp_path):
    results = Results(tmp_path, models=(), nights=1)
    path = results.inputs["rejected"]
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert "None: every file of the cohort was used." in results.page()
    assert "None: no remarks" in results.page()


def test_no_models(tmp_path):
    text = Results(tmp_path, models=()).page()
    assert text.count("No model has been evaluated.") == 2
    assert "no predictions were given" in text
    assert "No training curves." in text
    Reader(text)


def test_a_model_without_predictions_keeps_its_metrics(tmp_path):
    results = Results(tmp_path, models=MODELS[:1])
    results.inputs["predictions"] = []
    text = results.page()
    assert "No predictions were given for this model" in text
    assert "Confusion matrix" in text


def test_several_data_sets_are_shown_each_by_itself(tmp_path):
    results = Results(tmp_path, models=MODELS[:1])
    path = results.inputs["metrics"][0]
    content = json.loads(path.read_text())
    block = {key: value for key, value in content.items() if key not in ("datasets", "stages")}
    path.write_text(json.dumps(content | {"datasets": {"first": block, "second": block}}))
    split = results.inputs["split"]
    deal = json.loads(split.read_text())
    split.write_text(json.dumps(deal | {"external": ["second/a"]}))
    text = results.page()
    assert f"{TITLES[0]}: each data set by itself." in text
    assert "Test epochs of 2 data sets (first; second, tested only) are pooled here" in text
    assert '<th scope="row">second</th>' in text


def test_no_recording_could_be_used(tmp_path):
    results = Results(tmp_path, models=())
    for name in ("recordings", "channels"):
        path = results.inputs[name]
        path.write_text(path.read_text().splitlines()[0] + "\n")
    results.inputs["packed"] = []
    text = results.page()
    assert "No recording could be used." in text
    assert "s99n1.edf" in text


def test_models_on_different_epochs_are_not_silently_compared(tmp_path):
    results = Results(tmp_path)
    path = results.inputs["metrics"][0]
    content = json.loads(path.read_text())
    content["counts"]["scored"] -= 5
    path.write_text(json.dumps(content))
    text = results.page()
    assert "judged on different numbers of epochs" in text
    assert text.count(">always ") == 2


def test_a_model_that_answers_one_stage_is_called_so(tmp_path):
    results = Results(tmp_path)
    assert "gave every test epoch the same stage" not in results.page()
    path = results.inputs["metrics"][0]
    content = json.loads(path.read_text())
    matrix = content["pooled"]["confusion_matrix"]
    content["pooled"]["confusion_matrix"] = [[0, 0, sum(row), 0, 0] for row in matrix]
    path.write_text(json.dumps(content))
    assert "1 model gave every test epoch the same stage" in results.page()


def test_one_subject_has_no_interval_and_the_reason_is_on_the_page(tmp_path):
    text = Results(tmp_path, nights=1, folds=1, models=MODELS[:1]).page()
    assert "No intervals: 1 test subject(s)" in text
    assert " [" not in text[text.index('id="summary"') : text.index('id="cohort"')].split("<img")[0]


def test_texts_of_files_are_escaped(tmp_path):
    results = Results(tmp_path, models=MODELS[:1])
    results.change("recordings", notes=f"odd & {SCRIPT}", night="$\\frac{")
    results.change("channels", source=SCRIPT, recording=f"{SCRIPT}$x_$")
    results.change("rejected", problem=SCRIPT, advice='"><img src=x onerror=alert(1)>')
    text = results.page(title=SCRIPT)
    reader = Reader(text)
    assert "script" not in reader.tags
    assert reader.text.count(SCRIPT) >= 5
    assert all("onerror" not in name for _, name, _ in reader.attributes)


def test_names_in_drawings_are_escaped(tmp_path):
    results = Results(tmp_path, models=())
    results.change("recordings", recording=f"{SCRIPT}$\\bad$")
    images = Reader(results.page()).images
    assert "<script" not in drawing(images[0])
    assert "&lt;script&gt;" in drawing(images[0])


def test_a_doubtful_simulated_flag_is_an_error(tmp_path):
    results = Results(tmp_path, models=())
    results.change("recordings", simulated="perhaps")
    with pytest.raises(ValueError, match="'perhaps' in column simulated"):
        results.page()


def test_missing_simulated_column_is_an_error(tmp_path):
    results = Results(tmp_path, models=())
    path = results.inputs["recordings"]
    pl.read_csv(path, separator="\t").drop("simulated").write_csv(path, separator="\t")
    with pytest.raises(ValueError, match="simulated"):
        results.page()


def test_a_leak_in_the_split_is_shouted(tmp_path):
    results = Results(tmp_path, models=())
    path = results.inputs["split"]
    content = json.loads(path.read_text())
    leaked = content["folds"][0]["test"][0]
    content["folds"][0]["pretrain"].append(leaked)
    path.write_text(json.dumps(content))
    text = Reader(results.page()).text
    assert f"fold 0: {leaked}" in text
    assert "test + pretrain" in text
    assert "Checked for this page" not in text


def test_tested_subjects_are_compared_with_the_split(tmp_path):
    results = Results(tmp_path, models=MODELS[:1])
    assert "does not test in that fold" not in results.page(hypnograms=0)
    path = results.inputs["split"]
    content = json.loads(path.read_text())
    content["folds"][0]["test"][0] = "sim/elsewhere"
    path.write_text(json.dumps(content))
    text = results.page(hypnograms=0)
    assert "tested on 1 subject that the split does not test in that fold: sim/s00." in text
    assert f"{TITLES[0]}: no test predictions of 1 subject: sim/elsewhere." in text


def test_hypnograms_are_spread_from_worst_to_best(results, page):
    text = results.page(hypnograms=2)
    nights = text[text.index('id="hypnograms"') : text.index('id="training"')]
    assert "2 of 4 test recordings, at even steps of rank" in nights
    kappas = [float(k) for k in re.findall(r"mean kappa (0\.\d+)", nights)]
    every = [float(k) for k in re.findall(r"mean kappa (0\.\d+)", page)]
    assert len(every) == 4
    assert kappas == [min(every), max(every)]
    assert nights.count("<img") == 1 + 4
    none = results.page(hypnograms=0)
    assert "the configuration asks for none" in none


def test_every_test_recording_is_listed_worst_first_with_a_link_to_its_night(results):
    text = results.page(hypnograms=2)
    part = text[text.index('<section id="recordings"') : text.index('<section id="calibration"')]
    reader = Reader(part)
    table = pl.read_csv(results.folder / "tables/kappa-of-each-test-recording.csv")
    assert table.columns == ["Recording", "Subject", "Mean", *TITLES]
    assert table["Mean"].to_list() == sorted(table["Mean"])
    assert table["Mean"].to_numpy() == pytest.approx(
        table.select(TITLES).mean_horizontal().to_numpy(), abs=0.001
    )
    rows = [link for link in reader.links if link.startswith("#night-")]
    assert len(rows) == 2
    assert {link[1:] for link in rows} <= set(Reader(text).ids)


def test_errors_in_a_caption_are_those_of_the_confusion_matrix(results, page):
    model = read_models(
        metrics=results.inputs["metrics"], predictions=results.inputs["predictions"]
    )[0]
    confusion = model.counted.confusion[0]
    errors = int(confusion.sum() - np.trace(confusion))
    recording = model.counted.table["recording"][0]
    caption = re.search(rf"figcaption>{recording}, {model.name.title}: (.*?)<", page).group(1)
    assert f"{np.trace(confusion):,} of {confusion.sum():,} compared epochs agree" in caption
    assert f"{errors:,} errors" in caption
    image = next(
        i for i in Reader(page).images
        if i["alt"].startswith(f"Hypnogram of {recording}") and model.name.title in i["alt"]
    )  # fmt: skip
    (dots,) = re.findall(r'<path d="([^"]*)"[^>]*stroke: #d7191c', drawing(image))
    assert dots.count("M") == errors > 0


def test_probabilities_are_stacked_from_deep_sleep_to_wake():
    probability = np.array([[0, 0, 0, 1, 0], [0.3, 0, 0.5, 0, 0.2], [np.nan] * 5])
    image = density_image(probability)
    colour = {name: tuple(bytes.fromhex(COLOURS[name][1:])) for name in STAGE_NAMES}
    assert {tuple(pixel) for pixel in image[:, 0]} == {colour["N3"]}
    column = [tuple(pixel) for pixel in image[:, 1]]
    # From the top: 30 rows of W, 20 of REM, 50 of N2.
    assert column == [colour["W"]] * 30 + [colour["REM"]] * 20 + [colour["N2"]] * 50
    assert not {tuple(pixel) for pixel in image[:, 2]} & set(colour.values())


def test_probabilities_fill_the_width_of_the_hypnogram(page):
    image = next(i for i in Reader(page).images if i["alt"].startswith("Hypnogram of"))
    svg = drawing(image)
    tag = re.search(r"<image [^>]*>", svg).group(0)
    scale = float(re.search(r"(?:matrix|scale)\(([\d.]+)", tag).group(1))
    pixels = float(re.search(r' width="([\d.]+)', tag).group(1))
    (width,) = re.findall(r'd="M[\d.]+ [\d.]+l([\d.]+) 0', svg)[1:2]
    assert scale * pixels == pytest.approx(float(width), abs=0.5)


def test_missing_epochs_leave_a_gap():
    frame = scores(np.random.default_rng(0), np.array([0, 1, 2, 3] * 8), "sim/s00", 0, 0.9)
    stage, predicted, probability = on_grid(frame.filter(~pl.col("epoch").is_in([4, 5])))
    assert (len(stage), stage[4], stage[5], stage[6]) == (32, -1, -1, 2)
    assert predicted[5] == -1
    assert np.isnan(probability[4]).all()


def test_template_and_style_belong_to_the_code_of_the_report():
    report = closure("somnoflow.commands.report")
    named = {path.name for part in report for path in data_files(part)}
    assert {"page.html", "page.css", "table.html"} <= named


def test_provenance_from_run_json(tmp_path):
    results = Results(tmp_path, models=())
    split = results.inputs["split"]
    run = {
        "module": "somnoflow.commands.split", "code": "c0de" * 16, "git_commit": "abc" * 13 + "+",
        "started": "2001-02-03T04:05:06+00:00", "seconds": 1.25, "peak_memory_mib": 2048,
        "device": "cpu", "versions": {"numpy": "2.0", "python": "3.12"},
        "outputs": {"elsewhere/split.json": "0" * 64},
    }  # fmt: skip
    split.with_name("run.json").write_text(json.dumps(run))
    text = Reader(results.page()).text
    for words in ("somnoflow.commands.split", "c0dec0dec0de", "abcabcabcabc+", "2,048",
                  "CHANGED since", "no run.json beside the file"):  # fmt: skip
        assert words in text
    assert "c0dec0dec0dec" not in text
    assert "Changed after they were made" in text
    assert [run.changed for run in read_runs([split])] == [True]


def test_the_same_inputs_give_the_same_page(results):
    assert results.page() == results.page()


def test_a_path_that_names_no_fold_is_an_error(results, tmp_path):
    odd = tmp_path / "predictions.parquet"
    odd.write_bytes(results.inputs["predictions"][0].read_bytes())
    with pytest.raises(ValueError, match="fold="):
        read_models(metrics=[], predictions=[odd])


def test_long_tables_are_cut_and_say_so(tmp_path):
    results = Results(tmp_path, models=(), nights=230, epochs=6)
    text = Reader(results.page()).text
    assert "230 recordings." in text
    assert "The first 200 of 230 rows." in text


def test_report_starts_without_the_heavy_packages():
    code = (
        "import sys, somnoflow.commands.report as r; "
        "sys.exit(' '.join({'torch', 'mne', 'sklearn', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert found.stderr.strip() == b""


if __name__ == "__main__":
    Results(Path(sys.argv[1]), nights=8, epochs=930, folds=4).page(
        hypnograms=8, quality_recordings=12
    )
