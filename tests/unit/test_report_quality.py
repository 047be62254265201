"""The report on signals: pictures of quality, channels, remarks, rejected files by reason."""

import re
from datetime import datetime
from itertools import combinations, pairwise

import numpy as np
import polars as pl
import pytest
from tests.unit.test_report import SCRIPT, Reader, Results, drawing, walk

from somnoflow.io.digest import DigestError
from somnoflow.report.data_sections import clock
from somnoflow.report.quality import choose_worst, read_quality
from somnoflow.report.quality_figure import (
    GOOD,
    LOOKS,
    NightQuality,
    _runs,
    count_looks,
    looks_of,
    quality_picture,
    say_quality,
)
from somnoflow.report.tables import rough_share, tally
from somnoflow.signals.quality import UNUSABLE, Flag

# Machado, Oliveira and Fernandes 2009, severity 1: linear RGB as each of them sees it.
COLOUR_VISION = {
    "full": np.eye(3),
    "protan": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deutan": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritan": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour, vision):
    """Give the CIE L*a*b* values (D65) of a colour as somebody sees it."""
    rgb = np.array(list(bytes.fromhex(colour[1:]))) / 255
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = TO_XYZ @ np.clip(vision @ linear, 0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def section(text, name, following):
    return text[text.index(f'<section id="{name}"') : text.index(f'<section id="{following}"')]


def night(flags, **known):
    epochs = len(next(iter(flags.values())))
    fields = {"onset": 30.0 * np.arange(epochs), "stage": np.full(epochs, -1)} | known
    return NightQuality(recording="n1", flags=flags, **fields)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return Results(tmp_path_factory.mktemp("quality"), models=(), epochs=200)


@pytest.fixture(scope="module")
def page(results):
    return results.page(quality_recordings=12)


def test_recordings_are_counted_over_the_channels_that_they_have(results):
    table = read_quality(results.inputs["packed"])
    for k, row in enumerate(table.iter_rows(named=True)):
        first = len(results.stages[k]) // 9 * (k == 1)
        kept = [flags[first:] for flags in results.flags[k].values()]
        there = [flags for flags in kept if not (flags & Flag.MISSING).all()]
        assert row["cells"] == sum(map(len, there))
        assert row["unusable"] == sum(int((flags & UNUSABLE > 0).sum()) for flags in there)
    assert table["cells"][3] == 4 * 200
    assert set(results.flags[3]) - {"EMG_CHIN"} == {"EEG_C4", "EEG_C3", "ECG", "SPO2"}


def test_warnings_do_not_make_an_epoch_unusable(tmp_path):
    results = Results(tmp_path, models=(), nights=1)
    for flags in results.flags[0].values():
        flags[:] = Flag.OUT_OF_RANGE | Flag.LINE_NOISE
    assert read_quality([results.pack()])["unusable"].to_list() == [0]


def test_an_epoch_table_that_changed_is_an_error(tmp_path):
    results = Results(tmp_path, models=(), nights=1)
    file = results.inputs["packed"][0].with_name("epochs.parquet")
    pl.read_parquet(file).head(3).write_parquet(file)
    with pytest.raises(DigestError, match=r"epochs\.parquet has changed"):
        results.page()


def test_the_worst_are_drawn_and_even_steps_of_the_rest():
    shares = [5, 0, 90, 40, 10, 30, 20, 60, 50, 70]
    table = pl.DataFrame(
        {"dataset": "d", "subject": "d/s", "recording": [f"r{share:02d}" for share in shares],
         "cells": 100, "unusable": shares, "file": "f"}
    )  # fmt: skip
    chosen, rule = choose_worst(table, 6)
    assert chosen["recording"].to_list() == ["r90", "r70", "r60", "r50", "r20", "r00"]
    assert "The worst 3 of 10 recordings" in rule
    assert choose_worst(table, 1)[0]["recording"].to_list() == ["r90"]
    assert choose_worst(table, 2)[0]["recording"].to_list() == ["r90", "r00"]
    every, rule = choose_worst(table, 10)
    assert every["unusable"].to_list() == sorted(shares, reverse=True)
    assert rule.startswith("All 10 recordings")
    none, rule = choose_worst(table, 0)
    assert not none.height
    assert "asks for none" in rule


def test_an_epoch_with_several_flags_is_drawn_as_the_first():
    flags = np.array([0, 2 | 8, 4 | 16, 1, 16 | 32, 64 | 32, 127], np.uint8)
    assert looks_of(flags).tolist() == [0, 8, 4, 1, 16, 64, 1]
    assert sum(count_looks(flags).values()) == 6
    assert set(LOOKS) == set(Flag)
    unusable = [bool(flag & UNUSABLE) for flag in LOOKS]
    assert unusable == sorted(unusable, reverse=True)


def test_quality_is_said_in_words():
    counts = {
        "EEG_C4": {}, "ECG": {Flag.LINE_NOISE: 1}, "SPO2": {Flag.MISSING: 200},
        "EMG_CHIN": {Flag.FLAT: 100, Flag.CLIPPED: 20, Flag.MISSING: 1, Flag.ZERO: 1},
    }  # fmt: skip
    assert say_quality(counts, epochs=200) == (
        "ECG: under 1 % line noise. EMG_CHIN: 50 % flat, 10 % clipped; under 1 % missing, zero "
        "line. Good throughout: EEG_C4. Not in the recording: SPO2."
    )
    assert say_quality({"EEG_C4": {}, "ECG": {}}, epochs=9) == "All channels are good throughout."


def test_runs_of_epochs():
    starts, ends = _runs(np.array([True, True, False, True, False, True]))
    assert (starts.tolist(), ends.tolist()) == ([0, 3, 5], [1, 3, 5])


def test_the_picture_holds_each_flag_and_each_run():
    flags = np.zeros(960, np.uint8)
    for place, flag in enumerate(LOOKS):
        flags[[100 * place + 20, 100 * place + 60]] = flag
    picture = quality_picture(night({"EEG_C4": flags}), simulated="")
    svg = drawing({"src": picture.uri})
    for name, colour in [*LOOKS.values(), ("good", GOOD)]:
        path = re.search(rf'<path d="([^"]*)"[^>]*style="fill: {colour.lower()}', svg)
        assert path, name
        # Two bad epochs each; fourteen of them leave fifteen good stretches.
        assert path[1].count("M") == (15 if name == "good" else 2)
    every = ", ".join(name for name, _ in LOOKS.values())
    assert picture.caption == f"n1: EEG_C4: under 1 % {every}."
    assert picture.alt.startswith(
        "Signal quality of n1 over the night, a row for each of 1 channel"
    )


def test_the_hypnogram_stands_above_only_where_somebody_scored():
    flags = {"EEG_C4": np.zeros(20, np.uint8)}
    bare = quality_picture(night(flags), simulated="")
    scored = quality_picture(night(flags, stage=np.arange(20) % 5), simulated="")
    assert ">REM<" not in drawing({"src": bare.uri})
    assert ">REM<" in drawing({"src": scored.uri})
    assert scored.height > bare.height


def test_time_runs_over_the_whole_recording_and_names_the_clock():
    flags = {"EEG_C4": np.zeros(120, np.uint8)}
    kept = 30.0 * np.arange(240, 360)
    start = datetime(2001, 1, 1, 23, 30)
    known = {"onset": kept, "hours": 6.0, "start": start, "lights_off": 1800, "lights_on": 19800}
    svg = drawing({"src": quality_picture(night(flags, **known), simulated="").uri})
    for words in ("0 h", "23:30", "6 h", "05:30", "lights off", "lights on"):
        assert f">{words}<" in svg
    box = re.search(rf'<path d="([^"]*)"[^>]*style="fill: {GOOD.lower()}', svg)[1]
    x = walk(box)[:, 0]
    ticks = sorted({float(x) for x in re.findall(r'<use [^>]*x="([\d.]+)"[^>]*stroke', svg)})
    assert len(ticks) == 7
    # Kept are the hours 2 to 3: nothing is drawn before and after.
    assert min(x) == pytest.approx(ticks[2], abs=0.06)
    assert max(x) == pytest.approx(ticks[3], abs=0.06)
    unknown = night(flags, lights_off=-60, lights_on=1e6)
    svg = drawing({"src": quality_picture(unknown, simulated="").uri})
    assert "lights" not in svg


def test_colours_stay_apart_for_every_colour_vision():
    colours = [GOOD, *(colour for flag, (_, colour) in LOOKS.items() if flag is not Flag.MISSING)]
    for name, vision in COLOUR_VISION.items():
        for one, other in combinations(colours, 2):
            apart = np.linalg.norm(lab(one, vision) - lab(other, vision))
            assert apart > 20, (name, one, other)
    light = [lab(colour, np.eye(3))[0] for colour in colours]
    assert max(light) == light[0] > 90


def test_each_recording_has_a_picture_with_its_title_words_and_badge(page):
    found = section(page, "quality", "split")
    assert found.count("<img") == found.count("<h3>") == 4
    titles = re.findall(r"<h3>(.*?)</h3>", found)
    shares = [int(re.search(r"(\d+) % unusable", title)[1]) for title in titles]
    assert shares == sorted(shares, reverse=True)
    assert "s03n1 (subject sim/s03; " in found
    assert "Not in the recording: EMG_CHIN." in found
    for name, colour in LOOKS.values():
        assert f'background:{colour}"></span>{name}</span>' in found
    assert "All 4 recordings" in found


def test_shares_of_each_channel_in_the_order_of_a_montage(page):
    text = section(page, "quality", "split")
    rows = re.findall(r'<tr><th scope="row">(.*?)</tr>', text)
    assert [row.split("<")[0] for row in rows] == ["EEG_C4", "EEG_C3", "EMG_CHIN", "ECG", "SPO2"]
    assert re.findall(r">([^<>]+)</td>", rows[2])[:3] == ["sim", "3", "600"]


def test_line_noise_that_cannot_be_judged_is_no_zero(tmp_path):
    results = Results(tmp_path, models=(), nights=1)
    path = results.inputs["channels"]
    table = pl.read_csv(path, separator="\t", infer_schema=False)
    kept = pl.when(pl.col("channel") != "SPO2").then(pl.col("line_noise"))
    table.with_columns(kept.alias("line_noise")).write_csv(path, separator="\t")
    row = re.search(r'<th scope="row">SPO2</th>(.*?)</tr>', section(results.page(), "quality",
                                                                   "split"))[1]  # fmt: skip
    assert row.endswith('<td class="n">\N{EN DASH}</td>')


def test_channels_say_what_was_offered_taken_and_missing(page):
    text = section(page, "channels", "quality")
    chin = re.search(r'<th scope="row">EMG_CHIN</th>(.*?)</tr>', text)[1]
    assert re.findall(r">([^<>]+)</td>", chin) == [
        "sim", "3 of 4", "EMG Chin", "uV", "128", "no label of the file matches",
    ]  # fmt: skip
    unused = re.search(r'<th scope="row">Pleth</th>(.*?)</tr>', text)[1]
    assert re.findall(r">([^<>]+)</td>", unused)[:2] == ["sim", "4"]
    assert "20 channels of all recordings" in text[text.index("<details>") :]
    assert "1 label that recordings offer" in text


def test_a_channel_that_no_recording_has_is_said_once_and_not_drawn(tmp_path):
    results = Results(tmp_path, models=(), nights=3)
    for flags in results.flags:
        flags["ECG"][:] = Flag.MISSING
    results.inputs["packed"] = [results.pack()]
    path = results.inputs["channels"]
    table = pl.read_csv(path, separator="\t", infer_schema=False)
    problem = pl.when(pl.col("channel") == "ECG").then(pl.lit("no <b>label</b>"))
    table.with_columns(problem.otherwise("problem").alias("problem")).write_csv(
        path, separator="\t"
    )
    text = results.page()
    assert "<li>sim: not in 3 recordings: ECG (no &lt;b&gt;label&lt;/b&gt;).</li>" in text
    assert '<th scope="row">ECG</th>' not in section(text, "channels", "quality")
    drawn = [image for image in Reader(text).images if image["alt"].startswith("Signal quality")]
    assert len(drawn) == 2
    assert all(">ECG<" not in drawing(image) for image in drawn)
    assert all("a row for each of 4 channels" in image["alt"] for image in drawn)


def test_channel_remarks_stand_first_and_are_counted_once_per_recording(page):
    text = section(page, "channels", "quality")
    assert text.index("Look at these") < text.index("Where each channel comes from")
    row = re.search(r'<tr><th scope="row">sim</th>(.*?)</tr>', text)[1]
    assert re.findall(r">([^<>]+)</td>", row) == [
        "1", "no unit in the header; taken as uV", "EEG_C4, EEG_C3, EMG_CHIN, ECG, SPO2", "s02n1",
    ]  # fmt: skip
    assert "Channels of 1 recording have remarks: see Channels." in page


def test_the_full_table_of_channels_begins_with_what_needs_a_look(page):
    text = section(page, "channels", "quality")
    rows = re.findall(r'<tr><th scope="row">(.*?)</tr>', text[text.index("<details>") :])
    firsts = [re.findall(r">?([^<>]+)</t[hd]>", row) for row in rows]
    assert firsts[0][0] == "s03n1"
    assert [cells[0] for cells in firsts[1:6]] == ["s02n1"] * 5
    flagged = [sum(int(n) for n in cells[8:15]) for cells in firsts[6:]]
    assert all(one >= other for one, other in pairwise(flagged))


def test_a_recording_that_is_mostly_unusable_is_announced(tmp_path):
    results = Results(tmp_path, models=(), nights=1)
    assert "without a usable signal for more than half" not in results.page()
    for flags in results.flags[0].values():
        flags[:40] = Flag.FLAT
    results.inputs["packed"] = [results.pack()]
    assert "1 recording without a usable signal for more than half" in results.page()


def test_lights_sleep_and_ahi_of_a_recording(results, page):
    row = re.search(r'<tr><th scope="row">s00n1</th>(.*?)</tr>', page)[1]
    cells = re.findall(r">([^<>]+)</td>", row)
    assert cells[2] == "2001-01-01 22:30"
    # 200 epochs from 22:30 on, with lights off and on ten minutes from their ends.
    assert cells[4:8] == ["22:40", "00:00", f"{(results.stages[0] > 0).sum() / 2:.0f}", "7.2"]
    row = re.search(r'<tr><th scope="row">s03n1</th>(.*?)</tr>', page)[1]
    assert re.findall(r">([^<>]+)</td>", row)[4:6] == ["\N{EN DASH}"] * 2


def test_clock_times():
    start = datetime(2001, 1, 1, 23, 30)
    assert clock(3600, start=start) == "00:30"
    assert clock(5000, start=None) == "start + 1:23 h"
    assert clock(-600, start=None) == "start \N{MINUS SIGN} 0:10 h"
    assert clock(None, start=start) == "\N{EN DASH}"


def test_a_start_that_is_no_time_is_an_error(tmp_path):
    results = Results(tmp_path, models=())
    results.change("recordings", start="yesterday")
    with pytest.raises(ValueError, match="'yesterday' in column start"):
        results.page()


def test_an_ahi_that_is_no_number_is_an_error(tmp_path):
    results = Results(tmp_path, models=())
    results.change("recordings", ahi="high")
    with pytest.raises(ValueError, match="'high' in column ahi, wanted a number"):
        results.page()


@pytest.mark.parametrize("number", [3, 3000])
def test_rejected_files_are_listed_and_many_are_summed_by_reason(tmp_path, number):
    results = Results(tmp_path, models=(), nights=1)
    path = results.inputs["rejected"]
    table = pl.read_csv(path, separator="\t", infer_schema=False)
    reasons = ["no EEG channel", "recording too short", "no stages in the annotation file"]
    pl.concat(
        table.with_columns(
            file=pl.lit(f"n{k:04d}.edf"),
            problem=pl.lit(reasons[k % 3]),
            advice=pl.lit(f"Look at page {k}"),
        )
        for k in range(number)
    ).write_csv(path, separator="\t")
    text = section(results.page(), "rejected", "channels")
    assert ("3,000 files not used, by reason." in text) == (number == 3000)
    assert ("The first 200 of 3,000 rows." in text) == (number == 3000)
    if number == 3000:
        summed = text[text.index("by reason") : text.index("files not used.")]
        assert summed.count('<td class="n">1,000</td>') == 3
        assert "n0002.edf" in summed


def test_many_remarks_are_counted_alike(tmp_path):
    results = Results(tmp_path, models=(), nights=1)
    path = results.inputs["recordings"]
    table = pl.read_csv(path, separator="\t", infer_schema=False)
    rows = [
        table.with_columns(
            recording=pl.lit(f"r{k}"),
            notes=pl.lit(f"annotation ends {k + 1} epochs before" if k % 5 else "C4 is odd"),
        )
        for k in range(30)
    ]
    pl.concat(rows).write_csv(path, separator="\t")
    text = section(results.page(), "rejected", "channels")
    alike = text[text.index("Remarks on 30 recordings") : text.index("30 recordings used")]
    assert re.findall(r'<td class="n">(\d+)</td><td class="prose">([^<]*)', alike) == [
        ("24", "annotation ends 2 epochs before"), ("6", "C4 is odd"),
    ]  # fmt: skip


def test_labels_of_a_file_are_escaped(tmp_path):
    results = Results(tmp_path, models=())
    results.change("channels", source=SCRIPT, unit="<b>", amplitude="<i>", remark=f"odd {SCRIPT}")
    results.change("recordings", recording=f"{SCRIPT}n1")
    text = results.page(quality_recordings=4)
    reader = Reader(text)
    assert not {"script", "i"} & set(reader.tags)
    assert reader.text.count(SCRIPT) >= 4


def test_a_recording_without_a_row_in_the_table_is_drawn_all_the_same(tmp_path):
    results = Results(tmp_path, models=())
    results.change("recordings", recording="renamed")
    assert section(results.page(quality_recordings=4), "quality", "split").count("<img") == 4


def test_small_shares_are_neither_nothing_nor_all():
    assert [rough_share(part, 1000) for part in (0, 1, 10, 500, 999, 1000)] == [
        "0 %", "under 1 %", "1 %", "50 %", "over 99 %", "100 %",
    ]  # fmt: skip
    assert rough_share(0, 0) == "\N{EN DASH}"


def test_tallies_name_the_most_frequent_first():
    assert tally([("uV", 8)]) == "uV"
    assert tally([("", 8)]) == "\N{EN DASH}"
    assert spaced(tally([("EEG", 3), ("C4-A1", 1200)])) == "C4-A1 (1,200), EEG (3)"
    many = tally([(f"l{k}", 9 - k) for k in range(9)], most=2)
    assert spaced(many) == "l0 (9), l1 (8), 7 more"


def spaced(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")
