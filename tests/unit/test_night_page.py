"""The page of a night: complete, self-contained, escaped, and honest about odd nights.

Run as a program, `python tests/unit/test_night_page.py FILE`, it writes the page of a simulated
night of 8 hours with made-up answers, to be looked at.
"""

import base64
import re
import sys
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from somnoflow.evaluate.respiratory_index import respiratory_index
from somnoflow.evaluate.review import choose_review, spread_out
from somnoflow.evaluate.sleep_statistics import sleep_statistics
from somnoflow.night import Night
from somnoflow.report.night_page import night_page
from somnoflow.scoring.hypnogram import Hypnogram
from somnoflow.signals.quality import UNUSABLE, Flag
from somnoflow.stages import EPOCH_SECONDS
from somnoflow.tasks import TASKS

SCRIPT = "<script>alert(1)</script>"
START = datetime(2001, 3, 4, 22, 47, 10)
CHANNELS = ("EEG_C4", "EOG_L", "EMG_CHIN")
ABOUT = {
    "name": "small", "title": "Small stager", "somnoflow": "0.7.0", "code": "c" * 64,
    "config": "d" * 64, "weights": {"model.safetensors": "e" * 64},
    "training": {
        "datasets": [{"name": "sim", "title": "Made-up nights", "licence": "MIT", "citation": "",
                      "simulated": True}],
        "subjects": 40, "recordings": 40, "epochs": 38_000, "statement": "Nothing real.",
    },
    "metrics": {
        "statement": "Simulated subjects of fold 0.", "subjects": 10, "recordings": 10,
        "epochs": 9_600,
        "values": {"kappa": {"value": 0.712, "interval": [0.65, 0.76]},
                   "events_per_epoch": {"value": 0.8, "interval": None}},
    },
    "calibration": {
        "temperature": 1.31, "ece_before": 0.062, "ece_after": 0.011, "val_epochs": 5_000,
        "review": {"share": 0.8, "epochs": 9_600, "kept_accuracy": 0.913, "all_accuracy": 0.84,
                   "review_accuracy": 0.548},
    },
}  # fmt: skip


def hypnogram(codes, *, task="staging", seed=0, start=START, confidence=None, name="n1"):
    """Make answers from codes, of which -1 is none; unsure where `confidence` says so."""
    asked, rng = TASKS[task], np.random.default_rng(seed)
    codes = np.asarray(codes)
    k, n = len(asked.classes), len(codes)
    sure = rng.uniform(0.55, 0.99, n) if confidence is None else np.asarray(confidence)
    p = rng.dirichlet(np.ones(k - 1), n) * (1 - sure)[:, None]
    rows = []
    for row, code in enumerate(codes):
        known = {"epoch": row, "onset_s": 30.0 * row}
        if code < 0:
            columns = [asked.column, "confidence", *asked.probabilities]
            rows.append(known | dict.fromkeys(columns))
            continue
        all_p = np.insert(p[row], code, sure[row])
        rows.append(known | {asked.column: asked.classes[code], "confidence": sure[row]}
                    | dict(zip(asked.probabilities, all_p, strict=True)))  # fmt: skip
    schema = {
        "epoch": pl.Int32, "onset_s": pl.Float64, asked.column: pl.String,
        **dict.fromkeys(["confidence", *asked.probabilities], pl.Float64),
    }  # fmt: skip
    about = {
        "epochs": n, "usable": int((codes >= 0).sum()), "channels": {"EEG_C4": "C4-M1"},
        "absent": {"ECG": "no such label"}, "remarks": ["EEG_C4: unit taken as uV"],
    }  # fmt: skip
    return Hypnogram(
        recording=name, start=start, task=asked, table=pl.DataFrame(rows, schema=schema),
        threshold=0.5 if asked.rare else None, made_by={"model_sha256": "f" * 64, "stride": 1},
        night=about,
    )  # fmt: skip


def night_of(codes, *, rate=32, channels=CHANNELS, seed=0):
    """Make a night of noise whose channels are lost where there is no code."""
    codes = np.asarray(codes)
    shape = (len(codes), len(channels), EPOCH_SECONDS * rate)
    signals = np.random.default_rng(seed).normal(0, 20, shape).astype(np.float32)
    quality = np.where(codes < 0, Flag.FLAT, Flag.GOOD).astype(np.uint8)
    quality = np.repeat(quality[:, None], len(channels), axis=1)
    present = quality & UNUSABLE == 0
    return Night(
        channels=tuple(channels), samples=shape[2], sampling_rate=rate,
        table=pl.DataFrame({"usable": present.any(axis=1)}), signals=signals * present[:, :, None],
        present=present, quality=quality, onset_s=30.0 * np.arange(len(codes)),
        taken=dict.fromkeys(channels, "label"), absent={}, remarks=(),
    )  # fmt: skip


def page_of(codes, *, models=({},), files=(), night="made", review_share=0.2, **options):
    said = hypnogram(codes, **options)
    return night_page(
        [said], night=night_of(codes) if night == "made" else night,
        statistics=sleep_statistics(said.classes), models=models, files=files,
        review_share=review_share,
    )  # fmt: skip


class Page(HTMLParser):
    """What a browser and a screen reader would find."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.headings, self.images, self.links = [], [], [], []
        self.html, self.text, self._style = html, "", False
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        self._style = tag == "style"
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.images.append(found)
        if tag == "a":
            self.links.append(found["href"])

    def handle_endtag(self, tag):
        self._style = self._style and tag != "style"

    def handle_data(self, data):
        if not self._style:
            self.text += data


def drawing(image):
    return base64.b64decode(image["src"].partition(",")[2]).decode()


CODES = [0] * 6 + [1, 2, 2, 3, 3, 3, 2, -1, 2, 4, 4, 4, 0, 2]


def test_page_is_complete_and_stands_alone():
    page = Page(page_of(CODES, models=[ABOUT], files=["n1.csv", "n1-annotations.edf"]))
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert all(image["src"].startswith("data:image/") for image in page.images)
    ids = {found["id"] for _, found in page.tags if "id" in found}
    assert {link[1:] for link in page.links if link.startswith("#")} <= ids
    assert [link for link in page.links if not link.startswith("#")] == [
        "./n1.csv", "./n1-annotations.edf",
    ]  # fmt: skip
    for told in (
        "not a medical device", "22:47", "2001-03-04", "Small stager: trained on Made-up nights "
        "(simulated)", "kappa 0.712 [0.650, 0.760]", "91.3 % were as the expert said",
        "temperature 1.31", "Total sleep time", "Lights off is not known: the start",
        "no such label", "EEG_C4: unit taken as uV", "e" * 64, "f" * 64,
    ):  # fmt: skip
        assert told in page.text, told


def test_page_can_be_read_without_eyes():
    page = Page(page_of(CODES, models=[ABOUT]))
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(page.headings))
    assert all(found.get("scope") for tag, found in page.tags if tag == "th")
    assert all(len(image["alt"]) > 20 for image in page.images)
    night = page.images[0]["alt"]
    assert "19 usable epochs" in night
    assert "REM begins at 22:54:40" in night
    assert "1 epoch without a usable signal" in night


def test_strange_names_are_text():
    night = night_of(CODES, channels=(f"EEG_{SCRIPT}", "EOG_$x_$"))
    said = hypnogram(CODES, name=SCRIPT)
    said = replace(said, night={**said.night, "channels": {"EEG_C4": SCRIPT}, "remarks": [SCRIPT]},
                   made_by={"settings": {SCRIPT: SCRIPT}, "why": SCRIPT})  # fmt: skip
    about = {**ABOUT, "title": SCRIPT, "name": SCRIPT}
    html = night_page(
        [said, said], night=night, statistics=sleep_statistics(said.classes),
        models=[about, about], files=[f"{SCRIPT}.csv", "javascript:alert(1)"],
    )  # fmt: skip
    page = Page(html)
    assert "<script" not in html
    assert not any("<script" in drawing(image) for image in page.images)
    assert all(link[0] in "#." for link in page.links)


@pytest.mark.parametrize(
    ("codes", "note"),
    [
        ([0] * 10, "every usable epoch is wake"),
        ([-1] * 10, "nothing could be scored"),
        ([2], "No REM sleep was found"),
        ([0], "shorter than an hour"),
        ([0, 1, 2, 3, 2], "No REM sleep was found"),
        ([4, -1, -1, -1], "Fewer than half"),
    ],
)
@pytest.mark.parametrize("signals", ["made", None])
def test_odd_nights_have_a_page(codes, note, signals):
    page = Page(page_of(codes, night=signals))
    assert note in page.text
    assert ("signals were not at hand" in page.text) is (signals is None)
    assert "nan" not in page.text.casefold().split()


def test_long_night_has_few_columns_and_days(tmp_path):
    codes = np.tile([0, 2, 3, 4], 26 * 30)
    html = page_of(codes)
    page = Page(html)
    assert "day 2" in drawing(page.images[0])
    assert len(html) < 1_000_000
    assert "200 least certain of" in page.text


def test_time_is_counted_where_the_start_is_unknown():
    page = Page(page_of(CODES, start=None))
    assert "start unknown" in page.text
    assert "REM begins at 0:07:30" in page.images[0]["alt"]


def test_events_are_counted_over_sleep():
    stages, said = hypnogram(CODES), [1] * 8 + [0, 1, 1, 0, 1, -1, 0, 0, 1, 0, 1, 0]
    events = hypnogram(said, task="respiratory", confidence=[0.8] * 20)
    page = Page(
        night_page([stages, events], night=None, statistics=sleep_statistics(stages.classes),
                   models=[ABOUT, ABOUT], files=[])
    )  # fmt: skip
    # Of sleep are epochs 6, 7; 9, 10; 12; 16: six epochs, four runs, over 12 epochs of sleep.
    index = respiratory_index(events.classes, event="respiratory", stages=stages.classes)
    assert (index.epochs, index.runs, index.hours) == (6, 4, pytest.approx(0.1))
    assert index.at_least == pytest.approx(40)
    assert "AHI" in page.text
    assert "40.0" in page.text
    assert "48.0" in page.text
    assert "REI" not in page.text


def test_events_without_stages_are_counted_over_the_recording():
    events = hypnogram([0, 1, 1, 0], task="respiratory", confidence=[0.8] * 4)
    page = Page(night_page([events], night=None, statistics=None, models=[{}], files=[]))
    assert "REI" in page.text
    assert "Sleep was not scored" in page.text
    assert "Total sleep time" not in page.text


def test_models_stand_beside_each_other():
    first, second = hypnogram(CODES), hypnogram([*CODES[:-1], 1], seed=1)
    page = Page(
        night_page([first, second], night=None, statistics=sleep_statistics(first.classes),
                   models=[ABOUT, {}], files=[])
    )  # fmt: skip
    assert "say the same in 95 % of the 19 epochs" in page.text
    assert "Model 2: no model card" in page.text


def test_trace_is_of_a_channel_that_has_a_signal():
    night = night_of([0, 2], channels=("EEG_C4", "EEG_C3", "SPO2"))
    night.present[0, 0] = False
    page = Page(page_of([0, 2], night=night, review_share=1.0))
    traces = [image["alt"] for image in page.images if "Trace" in image["alt"]]
    assert [alt.split(" over")[0] for alt in traces] == ["Trace of EEG_C3", "Trace of EEG_C4"]


def test_breathing_alone_has_neither_spectrum_nor_traces():
    page = Page(page_of([0, 2] * 5, night=night_of([0, 2] * 5, channels=("AIRFLOW",))))
    assert not any("Trace" in image["alt"] for image in page.images)
    assert len(page.images) == 2


def test_epochs_without_a_stage_are_told_with_the_statistics():
    assert "5 % of the time in bed has no stage" in Page(page_of(CODES)).text
    assert "has no stage" not in Page(page_of([0, 1])).text


@pytest.mark.parametrize(
    ("hypnograms", "night", "models", "told"),
    [
        ([], None, [], "at least one"),
        ([hypnogram(CODES)], None, [], "0 models for 1 hypnogram"),
        ([hypnogram(CODES)], night_of(CODES[:-1]), [{}], "19 and 20 epochs"),
        ([hypnogram(CODES), hypnogram(CODES[:-1])], None, [{}, {}], "19 and 20 epochs"),
    ],
)
def test_what_does_not_go_together_is_refused(hypnograms, night, models, told):
    with pytest.raises(ValueError, match=told):
        night_page(hypnograms, night=night, statistics=None, models=models, files=[])


def test_least_certain_epochs_are_reviewed():
    said = hypnogram([2, 2, -1, 2, 2, 2], confidence=[0.5, 0.9, 0.7, 0.4, 0.5, 0.8])
    found = choose_review(said, share=0.4)
    assert (found.rows.tolist(), found.usable, found.limit) == ([3, 4], 5, 0.5)
    assert choose_review(said, share=0).limit is None
    assert choose_review(said, share=1).rows.tolist() == [3, 4, 0, 5, 1]
    with pytest.raises(ValueError, match="wanted 0 to 1"):
        choose_review(said, share=20)


def test_neighbours_are_drawn_last():
    assert spread_out([5, 6, 4, 9, 1], most=3) == [5, 9, 1]
    assert spread_out([5, 6, 4, 9], most=3) == [5, 9, 6]
    assert spread_out([5], most=3) == [5]


def test_stages_of_another_length_are_refused():
    with pytest.raises(ValueError, match="1 stages for 2 epochs"):
        respiratory_index(["none", "apnea"], event="apnea", stages=["N2"])


def test_spectrum_finds_a_wave():
    from somnoflow.report.night_spectrum import spectrogram

    seconds = np.arange(3000) / 100
    wave = (10 * np.sin(2 * np.pi * 13 * seconds)).astype(np.float32)
    signal = np.stack([wave, wave])
    frequencies, decibel = spectrogram(signal, present=np.array([True, False]), sampling_rate=100)
    assert frequencies[decibel[0].argmax()] == 13
    assert np.isnan(decibel[1]).all()
    # A sine of 10 uV has a power of 50 uV^2.
    power = (10 ** (decibel[0] / 10)).sum() * (frequencies[1] - frequencies[0])
    assert power == pytest.approx(50, rel=0.02)


@pytest.mark.parametrize(
    ("hours", "start", "called"),
    [
        (1 / 120, START, ["22:47:10", "22:47:20", "22:47:30", "22:47:40"]),
        (0.05, None, ["0:00:00", "0:00:30", "0:01:00", "0:01:30", "0:02:00", "0:02:30", "0:03:00"]),
        (2.5, START.replace(minute=50), ["23:00", "23:15", "23:30", "23:45", "00:00", "00:15",
                                         "00:30", "00:45", "01:00", "01:15"]),
        (30, START, ["00:00\nday 2", "03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00",
                     "00:00\nday 3", "03:00"]),
    ],
)  # fmt: skip
def test_times_are_whole_ones(hours, start, called):
    from somnoflow.report.night_figures import time_ticks

    at, said = time_ticks(end=hours, start=start)
    assert said == called
    assert 0 <= at[0] <= at[-1] <= hours + 1e-6


def test_drawing_is_not_imported_with_the_page():
    import subprocess

    program = "import sys, somnoflow.report.night_page; print('matplotlib' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "False"


def write_example(to):
    """Write the page of a simulated night of 8 hours whose made-up answers are often right."""
    from somnoflow.night import read_night
    from somnoflow.simulate.edf import write_night
    from somnoflow.simulate.night import simulate_night

    made = simulate_night("S0003", seed=1, hours=8)
    to.parent.mkdir(parents=True, exist_ok=True)
    edf = to.with_name("S0003.edf")
    if not edf.exists():
        write_night(made, recording=edf, annotations=to.with_name("S0003-events.edf"))
    from somnoflow.config.pack import Pack

    night = read_night(
        edf, channels=("EEG_C4", "EOG_L", "EMG_CHIN", "SPO2"), sampling_rate=100,
        pack=Pack(scaling="none"),
    )  # fmt: skip
    rng = np.random.default_rng(3)
    codes = made.stages.astype(int)
    n = len(night)
    unsure = np.convolve(np.abs(np.diff(codes, prepend=codes[0])) > 0, np.ones(3), "same") > 0
    confidence = np.clip(np.where(unsure, rng.uniform(0.35, 0.8, n), rng.beta(14, 1.5, n)), 0.3, 1)
    codes[~night.table["usable"].to_numpy()] = -1
    codes[300:312] = -1
    said = hypnogram(codes, confidence=confidence, name="S0003")
    events = np.zeros(n, int)
    for onset, _, label in made.events:
        events[int(onset // 30)] |= "pnea" in label
    events[codes < 0] = -1
    breathing = hypnogram(events, task="respiratory", name="S0003")
    import time

    begin, cpu = time.perf_counter(), time.process_time()
    html = night_page(
        [said, breathing], night=night,
        statistics=sleep_statistics(said.classes, lights_off_s=600),
        models=[ABOUT, {**ABOUT, "name": "breath", "title": "Small breather"}],
        files=["S0003.csv", "S0003-annotations.edf", "S0003.xml", "S0003_events.tsv",
               "S0003_events.json", "S0003-yasa.csv"],
    )  # fmt: skip
    spent = time.process_time() - cpu
    print(f"{len(html):,} characters, {time.perf_counter() - begin:.1f} s, {spent:.1f} s of CPU")
    to.write_text(html, encoding="utf-8")


if __name__ == "__main__":
    write_example(Path(sys.argv[1]))
