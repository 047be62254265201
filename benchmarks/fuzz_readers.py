"""Feed damaged files to the readers and count what happens: docs/benchmarks/fuzzing.md.

    python benchmarks/fuzz_readers.py --inputs 120000

Each input is a valid small file with one to four random changes: bytes flipped, cut out, doubled,
moved or put in, numbers and words replaced by awkward ones. It ends in one of these ways:

read        the reader gave labels or samples, and they are what an independent reading of the very
            same bytes gives (the functions `expect_...`, which share no code with the package)
rejected    the reader gave a `Rejection` whose four texts all say something
wrong       it gave something else than the independent reading, or a rejection without a reason
crash       any other exception
hang        more than 5 s
memory      more than 1 GiB beyond what the process held before

Only `read` and `rejected` are good. Inputs depend on kind, number and `--seed` alone; whatever is
not good is kept in the folder named by `--keep`.
"""

import argparse
import random
import re
import resource
import signal
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edfio
import numpy as np

from measuring import table
from somnoflow.config.annotation import Annotation
from somnoflow.io.annotations import read_scoring
from somnoflow.io.recordings import open_recording
from somnoflow.io.rejection import Rejection
from somnoflow.stages import Stage

SECONDS = 5
MEMORY = 2**30
STAGE = {"W": Stage.W, "N1": Stage.N1, "N2": Stage.N2, "N3": Stage.N3, "REM": Stage.REM}
CODES = {"0": "W", "1": "N1", "2": "N2", "3": "N3", "4": "N3", "5": "REM", "9": "unscored"}
NSRR = {
    "Wake|0": "W", "Stage 1 sleep|1": "N1", "Stage 2 sleep|2": "N2", "Stage 3 sleep|3": "N3",
    "REM sleep|5": "REM",
}  # fmt: skip
TEXTS = {f"Sleep stage {name}": stage for name, stage in zip("W123R", STAGE, strict=True)}
AWKWARD = [
    b"-1", b"0", b"00", b"99999999", b"-99999999", b"1e308", b"1e-320", b"nan", b"inf", b"-inf",
    b"0x10", b"1_0", b"+5", b"5.", b".5", b"60", b"7.5", b"15", b"3", b"", b" ", b"1,5",
    b"\xd9\xa3", b"NaN", b"1e5", b"65536", b"-32769", b"30.0001", b"n/a", b"\xff", b"\x00",
    b"\x14", b"\x15", b"\t", b"\n", b"\r\n", b"<", b"&", b"&x;", b"]]>", b"<!--", b"<![CDATA[",
    b"|", b"Stages|Stages", b"Wake|0", b"2", b"N2", b"Sleep stage 2", b"EDF Annotations",
    b"EDF+D", b"EDF+C", b"\xef\xbb\xbf",
    b'<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;">]>',
    b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
]  # fmt: skip

Spans = list[tuple[float, float, Any]]


class Hang(Exception):  # noqa: N818 - an outcome, not an error
    """An input took too long."""


@dataclass(frozen=True)
class Kind:
    """A kind of file: a valid one, its suffix, and how it is read and compared."""

    suffix: str
    seed: bytes
    compare: Callable[[Path], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=120_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    options = parser.parse_args()
    kinds = list(make_kinds())
    each = options.inputs // len(kinds)
    size = 500
    jobs = [
        (kind, options.seed, first, min(size, each - first), options.keep)
        for first in range(0, each, size)
        for kind in kinds
    ]
    counted: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    reasons: dict[str, set[str]] = {kind: set() for kind in kinds}
    begin = time.perf_counter()
    with ProcessPoolExecutor(options.processes) as pool:
        results = pool.map(run_batch, *zip(*jobs, strict=True))
        for (kind, *_), (found, why) in zip(jobs, results, strict=True):
            counted[kind] += found
            reasons[kind] |= why
    outcomes = ["read", "rejected", "wrong", "crash", "hang", "memory"]
    rows = [
        [f"`{kind}`", *(count[name] for name in ["inputs", *outcomes]), len(reasons[kind])]
        for kind, count in counted.items()
    ]
    print(table(["file", "inputs", *outcomes, "different reasons"], rows))
    print(f"\n{time.perf_counter() - begin:.0f} s, seed {options.seed}")
    if any(count[name] for count in counted.values() for name in outcomes[2:]):
        raise SystemExit(f"failures are kept in {options.keep}")


def run_batch(
    kind: str, seed: int, first: int, inputs: int, keep: Path
) -> tuple[Counter[str], set[str]]:
    """Read some mutated inputs of one kind; give the number of each outcome, and all reasons."""
    chosen = make_kinds()[kind]
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, resource.RLIM_INFINITY))
    signal.signal(signal.SIGALRM, _stop)
    counted: Counter[str] = Counter(inputs=inputs)
    reasons: set[str] = set()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder) / f"n1{chosen.suffix}"
        for number in range(first, first + inputs):
            content = mutate(chosen.seed, random.Random(f"{seed}/{kind}/{number}"))  # noqa: S311
            path.write_bytes(content)
            outcome, why = judge(chosen, path)
            counted[outcome] += 1
            if outcome == "rejected":
                reasons.add(why)
            elif outcome != "read":
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{kind}-{seed}-{number}{chosen.suffix}").write_bytes(content)
                (keep / f"{kind}-{seed}-{number}.txt").write_text(f"{outcome}: {why}\n")
    return counted, reasons


def judge(kind: Kind, path: Path) -> tuple[str, str]:
    """Read one input and name the outcome."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        kind.compare(path)
    except Rejection as rejection:
        good = all(text.strip() for text in rejection.row().values())
        return ("rejected" if good else "wrong"), rejection.problem
    except Hang:
        return "hang", ""
    except MemoryError:
        return "memory", ""
    except AssertionError as error:
        return "wrong", str(error)
    except Exception as error:  # noqa: BLE001 - every other exception is what is looked for
        return "crash", f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "read", ""


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Change a file in one to four places; half of the files in their numbers alone."""
    if rng.random() < 0.5:
        for _ in range(rng.randint(1, 4)):
            content = _replace_token(content, rng, pattern=rb"-?[0-9][0-9.]*")
        return content
    for _ in range(rng.randint(1, 4)):
        begin = rng.randrange(len(content) + 1)
        end = min(len(content), begin + rng.choice([1, 1, 2, 8, 40, 300]))
        match rng.randrange(8):
            case 0:
                piece = bytes(sign ^ 1 << rng.randrange(8) for sign in content[begin : begin + 1])
                content = content[:begin] + piece + content[begin + 1 :]
            case 1:
                content = content[:begin] + content[end:]
            case 2:
                content = content[:end] + content[begin:]
            case 3:
                content = content[:begin] if rng.random() < 0.3 else content + content[begin:end]
            case 4:
                awkward = rng.choice(AWKWARD)
                content = content[:begin] + awkward + content[begin + len(awkward) :]
            case 5:
                content = content[:begin] + rng.choice(AWKWARD) + content[begin:]
            case _:
                content = _replace_token(content, rng, pattern=rb"-?[0-9][0-9.]*|[A-Za-z]{2,}")
    return content


def _replace_token(content: bytes, rng: random.Random, *, pattern: bytes) -> bytes:
    """Replace a number or a word, in its width where a header of fixed fields needs that."""
    tokens = list(re.finditer(pattern, content))
    if not tokens:
        return content
    token, awkward = rng.choice(tokens), rng.choice(AWKWARD)
    if rng.random() < 0.7:
        awkward = awkward[: len(token[0])].ljust(len(token[0]))
    return content[: token.start()] + awkward + content[token.end() :]


def make_kinds() -> dict[str, Kind]:
    """Give each kind of file by name."""
    pages = [name for name in ("W", "N1", "N2", "N3", "REM", "N2") for _ in range(2)]
    codes = ["0", "1", "2", "3", "5", "2"]
    nsrr = {stage: concept for concept, stage in NSRR.items()}
    return {
        "edf": Kind(".edf", _edf(plus=False), compare_samples),
        "edf+": Kind(".edf", _edf(plus=True), compare_samples),
        "edf+ annotations": Kind(".edf", _annotations(), compare_edf_annotations),
        "nsrr xml": Kind(".xml", _nsrr([nsrr[page] for page in pages]), compare_nsrr),
        "profusion xml": Kind(".xml", _profusion(codes), compare_profusion),
        "bids tsv": Kind(".tsv", _tsv(pages), compare_tsv),
        "codes": Kind(".txt", "\n".join(codes * 4).encode(), compare_codes),
    }


def _edf(*, plus: bool) -> bytes:
    rng = np.random.default_rng(0)
    signals = [
        edfio.EdfSignal(rng.normal(0, 20, 120).clip(-99, 99), 10, label="EEG C4-M1",
                        physical_dimension="uV", physical_range=(-100, 100)),
        edfio.EdfSignal(rng.uniform(90, 99, 12), 1, label="SpO2", physical_dimension="%",
                        physical_range=(0, 100)),
    ]  # fmt: skip
    annotations = [edfio.EdfAnnotation(3, 2, "Hypopnea")] if plus else None
    return edfio.Edf(signals, annotations=annotations, data_record_duration=1).to_bytes()


def _annotations() -> bytes:
    stages = [edfio.EdfAnnotation(30 * n, 30, text) for n, text in enumerate(TEXTS)]
    return edfio.Edf(
        [], annotations=[*stages, edfio.EdfAnnotation(40, 12.5, "Hypopnea")]
    ).to_bytes()


def _nsrr(concepts: list[str]) -> bytes:
    spans = [("Stages|Stages", concept, 30 * n, 30) for n, concept in enumerate(concepts)]
    spans += [("Respiratory|Respiratory", "Hypopnea|Hypopnea", 45.5, 12)]
    events = "".join(
        f"<ScoredEvent>\n<EventType>{kind}</EventType>\n<EventConcept>{concept}</EventConcept>\n"
        f"<Start>{start}</Start>\n<Duration>{length}</Duration>\n</ScoredEvent>\n"
        for kind, concept, start, length in spans
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<PSGAnnotation>\n'
        "<SoftwareVersion>Compumedics</SoftwareVersion>\n<EpochLength>30</EpochLength>\n"
        f"<ScoredEvents>\n{events}</ScoredEvents>\n</PSGAnnotation>\n"
    ).encode()


def _profusion(codes: list[str]) -> bytes:
    stages = "".join(f"<SleepStage>{code}</SleepStage>\n" for code in codes * 2)
    return (
        '<?xml version="1.0"?>\n<CMPStudyConfig>\n<EpochLength>30</EpochLength>\n<ScoredEvents>\n'
        "<ScoredEvent><Name>Hypopnea</Name><Start>45.5</Start><Duration>12</Duration>"
        "<Input>NEW AIR</Input></ScoredEvent>\n</ScoredEvents>\n"
        f"<SleepStages>\n{stages}</SleepStages>\n</CMPStudyConfig>\n"
    ).encode()


def _tsv(pages: list[str]) -> bytes:
    rows = "".join(f"{30 * n}\t30\t{page}\n" for n, page in enumerate(pages))
    return f"onset\tduration\ttrial_type\n{rows}45.5\t12\tHypopnea\n".encode()


def compare_samples(path: Path) -> None:
    """Compare a recording with the numbers at the places that the EDF specification gives."""
    source = open_recording(path)
    content = path.read_bytes()
    number = _integer(content[252:256])
    records, seconds = _integer(content[236:244]), _decimal(content[244:252])
    fields = {}
    begin = 256
    for name, width in (
        ("label", 16), ("transducer", 80), ("unit", 8), ("low", 8), ("high", 8), ("least", 8),
        ("most", 8), ("prefilter", 80), ("samples", 8), ("reserved", 32),
    ):  # fmt: skip
        fields[name] = [content[begin + width * n : begin + width * (n + 1)] for n in range(number)]
        begin += width * number
    lengths = [_integer(text) for text in fields["samples"]]
    data = np.frombuffer(content, "<i2", sum(lengths) * records, begin).reshape(records, -1)
    place = np.concatenate([[0], np.cumsum(lengths)])
    own = [n for n in range(number) if fields["label"][n].strip(b" \0") != b"EDF Annotations"]
    assert len(own) == len(source.signals), "another number of signals"
    for n, found in zip(own, source.signals, strict=True):
        if not lengths[n] or not seconds:
            continue
        assert abs(found.sampling_rate - lengths[n] / seconds) < 1e-3 * found.sampling_rate, "rate"
        try:
            pieces = found.physical()
        except Rejection:
            continue
        low, high = _decimal(fields["low"][n]), _decimal(fields["high"][n])
        least, most = _integer(fields["least"][n]), _integer(fields["most"][n])
        wanted = data[:, place[n] : place[n + 1]].ravel().astype(np.float64)
        wanted = (wanted - least) * ((high - low) / (most - least)) + low
        given = np.concatenate(pieces)
        size = max(np.abs(wanted).max(), abs(high - low), 1e-30)
        assert given.shape == wanted.shape, "another number of samples"
        assert np.abs(given - wanted).max() <= 1e-4 * size, "other samples"


def compare_edf_annotations(path: Path) -> None:
    scoring = read_scoring(
        path, Annotation(format="edf+", stages=TEXTS, events={"Hypopnea": "hypopnea"})
    )
    content = path.read_bytes()
    number, records = _integer(content[252:256]), _integer(content[236:244])
    lengths = [_integer(content[256 + 216 * number + 8 * n :][:8]) for n in range(number)]
    labels = [content[256 + 16 * n :][:16].strip(b" \0") for n in range(number)]
    wanted: Spans = []
    clocks: list[float] = []
    begin = 256 * (number + 1)
    for _ in range(records):
        for label, length in zip(labels, lengths, strict=True):
            block = content[begin : begin + 2 * length]
            begin += 2 * length
            for tal in block.split(b"\0") if label == b"EDF Annotations" else ():
                if tal.strip(b" "):
                    clock, spans = _tal(tal)
                    clocks.append(clock)
                    wanted += spans
    # The clock of the first data record is the time at which the recording starts.
    wanted = [(onset - clocks[0], length, text) for onset, length, text in wanted]
    _compare(scoring, wanted, TEXTS)


def _tal(tal: bytes) -> tuple[float, Spans]:
    match = re.fullmatch(
        rb"([+-]?\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14(.*)\x14", tal, flags=re.DOTALL
    )
    assert match, f"a malformed annotation was taken: {tal!r}"
    texts = [_text(text) for text in match[3].split(b"\x14")]
    onset, length = float(match[1]), float(match[2] or 0)
    return onset, [(onset, length, text) for text in texts if text]


def compare_nsrr(path: Path) -> None:
    annotation = Annotation(
        format="nsrr-xml", stages=NSRR, events={"Hypopnea|Hypopnea": "hypopnea"}
    )
    scoring = read_scoring(path, annotation)
    found = ET.fromstring(path.read_bytes()).iter("ScoredEvent")  # noqa: S314 - the reader refused bombs
    _compare(scoring, [_span(event, "EventConcept") for event in found], NSRR)


def compare_profusion(path: Path) -> None:
    annotation = Annotation(format="profusion-xml", stages=CODES, events={"Hypopnea": "hypopnea"})
    scoring = read_scoring(path, annotation)
    root = ET.fromstring(path.read_bytes())  # noqa: S314 - the reader refused bombs
    codes = [(one.text or "").strip() for one in root.iter("SleepStage")]
    wanted: Spans = [(30.0 * n, 30.0, code) for n, code in enumerate(codes)]
    events = [_span(event, "Name") for event in root.iter("ScoredEvent")]
    wanted += [event for event in events if event[2] not in CODES]
    _compare(scoring, wanted, CODES)


def _span(event: ET.Element, name: str) -> tuple[float, float, str]:
    return (
        float((event.findtext("Start") or "nan").strip()),
        float((event.findtext("Duration") or "").strip() or 0),
        (event.findtext(name) or "").strip(),
    )


def compare_tsv(path: Path) -> None:
    names = {name: name for name in STAGE}
    annotation = Annotation(format="bids-tsv", stages=names, events={"Hypopnea": "hypopnea"})
    scoring = read_scoring(path, annotation)
    lines = re.split("\r\n|\r|\n", path.read_bytes().decode("utf-8-sig"))
    columns = [name.strip().casefold() for name in lines[0].split("\t")]
    wanted: Spans = []
    for text in filter(None, lines[1:]):
        cells = dict(zip(columns, [*text.split("\t"), "", ""], strict=False))
        label = cells["trial_type"].strip()
        if _fold(label) in map(_fold, ("Hypopnea", *names)):
            wanted.append(
                (float(cells["onset"]), float(re.sub(r"\s|n/a", "", cells["duration"]) or 0), label)
            )
    _compare(scoring, wanted, names)


def compare_codes(path: Path) -> None:
    scoring = read_scoring(path, Annotation(format="codes", stages=CODES))
    lines = path.read_bytes().decode("utf-8-sig").rstrip().splitlines()
    _compare(scoring, [(30.0 * n, 30.0, code.strip()) for n, code in enumerate(lines)], CODES)


def _compare(scoring: Any, wanted: Spans, stages: dict[str, str]) -> None:
    """Compare stages and hypopneas as sets of (onset, duration, meaning) in milliseconds."""
    known = {_fold(label): STAGE.get(name, Stage.UNSCORED) for label, name in stages.items()}
    wanted = [(onset, seconds, _fold(label)) for onset, seconds, label in wanted]
    for found, expected, what in (
        (
            scoring.stages,
            [(*span[:2], known[span[2]]) for span in wanted if span[2] in known],
            "stages",
        ),
        (
            scoring.events,
            [span for span in wanted if span[2] in ("hypopnea", "hypopnea|hypopnea")],
            "events",
        ),
    ):
        assert len(found) == len(expected), f"{len(found)} {what}, wanted {len(expected)}"
        for (onset, length, meaning), (begin, seconds, name) in zip(
            sorted(found), sorted(expected), strict=True
        ):
            assert (onset, length) == (begin, seconds), f"{what} at {onset}, wanted {begin}"
            assert what == "events" or meaning == name, f"{meaning} at {onset}, wanted {name}"


def _text(content: bytes) -> str:
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        return content.decode("latin-1").strip()


def _fold(label: str) -> str:
    return " ".join(label.casefold().split())


def _integer(text: bytes) -> int:
    number = text.strip(b" \0")
    assert re.fullmatch(rb"[+-]?[0-9]+", number), f"{text!r} was taken as a number"
    return int(number)


def _decimal(text: bytes) -> float:
    return float(text.strip(b" \0").replace(b",", b"."))


def _stop(*_: object) -> None:
    raise Hang


if __name__ == "__main__":
    main()
