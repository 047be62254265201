"""Whatever a header says: what was written is read back, and damage ends in a rejection."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import edfio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.recordings import HeaderSignal, ramp, write_by_hand

from somnoflow.io.edf import open_recording, read_annotations
from somnoflow.io.rejection import Rejection
from somnoflow.io.source import Segment, SourceRecording

few = settings(
    derandomize=True,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

# Durations of a data record, as text and as what they mean.
DURATIONS = {
    "1": Fraction(1), "30": Fraction(30), "0.1": Fraction(1, 10), "0.072": Fraction(9, 125),
    "2.56": Fraction(64, 25), "0.333333": Fraction(1, 3), "0.123333": Fraction(37, 300),
    "0.666667": Fraction(2, 3), "1e1": Fraction(10), "0,25": Fraction(1, 4),
}  # fmt: skip


@dataclass
class Written:
    """A recording to be written, and the seconds of the gap before each data record."""

    signals: list[HeaderSignal]
    duration: str
    gaps: list[int]
    family: str


@st.composite
def signals(draw: st.DrawFn, *, records: int, family: str) -> HeaderSignal:
    least, largest = {"EDF": (-32768, 32767), "BDF": (-8388608, 8388607)}[family]
    low = draw(st.integers(least, largest - 1))
    high = draw(st.integers(low + 1, largest))
    physical = draw(
        st.lists(st.integers(-32768, 32767), min_size=2, max_size=2, unique=True).filter(
            lambda ends: max(map(abs, ends)) / 2**24 <= abs(ends[1] - ends[0]) / (high - low)
        )
    )
    labels = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=7)
    label = draw(labels.map(str.strip).filter(lambda text: text not in ("Status",)))
    samples = draw(st.integers(1, 12))
    seed = draw(st.integers(0, 99))
    return HeaderSignal(
        np.random.default_rng(seed).integers(low, high + 1, (records, samples)),
        label=label,
        unit=draw(st.sampled_from(["uV", "mV", "V", "%", "", "cmH2O"])),
        physical=(str(physical[0]), str(physical[1])),
        limits=(str(low), str(high)),
    )


@st.composite
def recordings(draw: st.DrawFn) -> Written:
    family = draw(st.sampled_from(["EDF", "BDF"]))
    gaps = draw(st.lists(st.sampled_from([0, 0, 0, 1, 90]), min_size=1, max_size=8))
    one = signals(records=len(gaps), family=family)
    return Written(
        signals=draw(st.lists(one, min_size=1, max_size=4)),
        duration=draw(st.sampled_from(sorted(DURATIONS))),
        gaps=[0, *gaps[1:]],
        family=family,
    )


@given(written=recordings())
@few
def test_what_was_written_is_read_back(tmp_path: Path, written: Written) -> None:
    step, records = DURATIONS[written.duration], len(written.gaps)
    begins = [number * step + sum(written.gaps[: number + 1]) for number in range(records)]
    path = write_by_hand(
        tmp_path / "night.edf",
        written.signals,
        record_seconds=written.duration,
        stamps=[f"+{float(begin):.6f}\x14\x14\0".encode() for begin in begins],
        reserved=f"{written.family}+D",
        family=written.family,
    )
    source = open_recording(path)
    edges = [0, *(number for number, gap in enumerate(written.gaps) if gap and number), records]
    assert source.segments == tuple(
        Segment(
            pytest.approx(float(begins[first]), abs=2e-6),
            pytest.approx(float((last - first) * step), abs=1e-6),
        )
        for first, last in pairwise(edges)
    )
    assert source.seconds == pytest.approx(float(begins[-1] + step), abs=3e-6)
    assert bool(source.notes) == (len(edges) > 2)
    for signal, wanted in zip(source.signals, written.signals, strict=True):
        assert (signal.label, signal.unit) == (wanted.label, wanted.unit)
        assert signal.sampling_rate == pytest.approx(float(wanted.digital.shape[1] / step))
        low, high = map(int, wanted.limits)
        first, last = map(int, wanted.physical)
        assert signal.limits == (min(first, last), max(first, last))
        parts = signal.physical()
        assert [len(part) for part in parts] == [
            (end - begin) * wanted.digital.shape[1] for begin, end in pairwise(edges)
        ]
        exact = first + (wanted.digital.reshape(-1) - low) * ((last - first) / (high - low))
        reach = max(abs(first), abs(last), abs(low * (last - first) / (high - low)))
        np.testing.assert_allclose(np.concatenate(parts), exact, rtol=0, atol=4e-7 * reach)


@given(
    rate=st.sampled_from([1, 10, 50, 125, 128, 200, 256, 512]),
    records=st.integers(1, 20),
    reach=st.integers(1, 30_000),
    plus=st.booleans(),
)
@few
def test_what_edfio_writes_is_what_edfio_reads(
    tmp_path: Path, rate: int, records: int, reach: int, plus: bool
) -> None:
    data = np.random.default_rng(records).uniform(-reach, reach, rate * records)
    signal = edfio.EdfSignal(data, rate, label="C4", physical_range=(-reach, reach))
    path = tmp_path / "night.edf"
    edfio.Edf([signal], data_record_duration=1, annotations=[] if plus else None).write(path)
    source = open_recording(path)
    (samples,) = source.signals[0].physical()
    assert source.seconds == records
    assert source.signals[0].sampling_rate == rate
    np.testing.assert_allclose(samples, signal.data, rtol=1e-6, atol=1e-2 * source.signals[0].step)


@given(
    annotations=st.lists(
        st.tuples(
            st.floats(0, 40_000, allow_subnormal=False),
            st.none() | st.floats(0, 9_000, allow_subnormal=False),
            st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30),
        ),
        min_size=1,
        max_size=20,
    )
)
@few
def test_annotations_that_edfio_writes_are_read_back(
    tmp_path: Path, annotations: list[tuple[float, float | None, str]]
) -> None:
    kept = [(onset, length, text) for onset, length, text in annotations if text.strip()]
    edf = edfio.Edf([], annotations=[edfio.EdfAnnotation(*one) for one in annotations])
    edf.write(tmp_path / "s.edf")
    wanted = sorted(
        (round(onset, 9), float(np.format_float_positional(length or 0)), text.strip())
        for onset, length, text in kept
    )
    if not wanted:
        with pytest.raises(Rejection, match="no annotations"):
            read_annotations(tmp_path / "s.edf")
    else:
        assert read_annotations(tmp_path / "s.edf")[1] == wanted


@st.composite
def damage(draw: st.DrawFn) -> tuple[int, int, bytes]:
    """Give where bytes are replaced, how many, and what with."""
    numbers = [b"99999999", b"-1      ", b"0       ", b"1e308   ", b"nan     ", b"0x10    "]
    return (
        draw(st.integers(0, 1500)),
        draw(st.sampled_from([0, 1, 8, 2000])),
        draw(st.one_of(st.binary(max_size=8), st.sampled_from(numbers))),
    )


def read_or_refuse(read: Callable[[Path], Any], path: Path) -> Any:
    """Read, or give None where it is refused with a reason; nothing else may be raised."""
    try:
        return read(path)
    except Rejection as caught:
        rejection = caught
    assert all(rejection.row().values())
    return None


def read_all(path: Path) -> SourceRecording:
    source = open_recording(path)
    for signal in source.signals:
        with suppress(Rejection):
            assert len(signal.physical()) == len(source.segments)
    return source


@given(spoils=st.lists(damage(), min_size=1, max_size=4), family=st.sampled_from(["EDF", "BDF"]))
@settings(few, max_examples=150)
def test_damage_ends_in_a_recording_or_a_rejection(
    tmp_path: Path, spoils: list[tuple[int, int, bytes]], family: str
) -> None:
    path = tmp_path / "night.edf"
    stamps = [f"+{at}\x14\x14\0+{at}\x1530\x14Sleep stage W\x14\0".encode() for at in range(4)]
    signal = HeaderSignal(ramp(4, 20))
    write_by_hand(path, [signal, signal], stamps=stamps, reserved=f"{family}+D", family=family)
    content = path.read_bytes()
    for at, length, new in spoils:
        content = content[:at] + new + content[at + length :]
    path.write_bytes(content)
    source = read_or_refuse(read_all, path)
    assert source is None or source.seconds > 0
    annotations = read_or_refuse(read_annotations, path)
    assert annotations is None or annotations[1]
