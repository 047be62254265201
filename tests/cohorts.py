"""Small cohorts in the layouts of known datasets, of which every sample and label is known.

Each signal is a tone of its own, so a swapped channel, a wrong sign or a wrong unit is another
wave. A tone is louder in some stages than in others, so a label that slipped is seen too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np

from tests.recordings import (
    START,
    HeaderSignal,
    make_signal,
    write_brainvision,
    write_by_hand,
    write_recording,
    write_scoring,
)
from tests.scorings import NSRR_STAGES, write_nsrr_xml, write_profusion_xml

EPOCH = 30
CODES = {"?": -1, "W": 0, "1": 1, "2": 2, "3": 3, "R": 4}
# Frequency in Hz, and amplitude in the unit that its channel is stored in.
TONES = {
    "C4": (10.0, 40.0), "C3": (12.0, 30.0), "M1": (7.0, 15.0), "M2": (8.0, 12.0), "E1": (4.0, 60.0),
    "E2": (5.0, 50.0), "CHIN": (33.0, 20.0), "ECG": (9.0, 0.5), "AIRFLOW": (0.25, 200.0),
    "OTHER": (15.0, 70.0),
}  # fmt: skip
BOMB = (
    '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;&b;&b;">]>\n'
    "<PSGAnnotation><ScoredEvents>&c;</ScoredEvents></PSGAnnotation>\n"
)


@dataclass(frozen=True)
class Lead:
    """A signal in a file: its tone times `factor`, in the unit that the header tells."""

    label: str
    tone: str
    rate: float = 100
    unit: str = "uV"
    factor: float = 1.0
    reach: float = 1000.0


@dataclass(frozen=True)
class Night:
    """What a recording must become.

    `stages` has a letter for each epoch, "W123R?"; `channels` the tones of each channel, `-` before
    those that are subtracted; `events` the seconds in each epoch where there are any; `cells` what
    recordings.tsv says; `missing` the epochs that a gap touches.
    """

    stages: str
    channels: Mapping[str, Sequence[str]]
    onset: float = 0.0
    missing: Sequence[int] = ()
    events: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    cells: Mapping[str, str] = field(default_factory=dict)

    @property
    def codes(self) -> list[int]:
        return [CODES[letter] for letter in self.stages]

    @property
    def seconds(self) -> float:
        return self.onset + EPOCH * len(self.stages)

    def wave(self, tone: str, time: np.ndarray) -> np.ndarray:
        """Give a tone at `time` (s), as loud as the stage says; SpO2 falls instead."""
        epoch = np.clip((time - self.onset) // EPOCH, 0, len(self.stages) - 1).astype(int)
        stage = np.asarray(self.codes)[epoch]
        if tone == "SPO2":
            return 96.0 - stage
        hertz, amplitude = TONES[tone]
        # The filter of the airflow is longer than an epoch.
        loudness = 1.0 if tone == "AIRFLOW" else 1 + 0.2 * stage
        return loudness * amplitude * np.sin(2 * np.pi * hertz * time)

    def channel(self, name: str, time: np.ndarray) -> np.ndarray:
        """Give a channel at `time` (s), in the unit that it is stored in."""
        return sum(
            -self.wave(tone[1:], time) if tone.startswith("-") else self.wave(tone, time)
            for tone in self.channels[name]
        )


@dataclass(frozen=True)
class Cohort:
    """Recordings that must come out, files that must be turned down and why, and what to do last.

    `remarks` are parts of remarks in channels.tsv, by recording and channel; `spoil` is done after
    the manifest was written.
    """

    nights: Mapping[str, Night]
    rejected: Mapping[str, str]
    spoil: Callable[[Path], None] = lambda folder: None
    remarks: Mapping[tuple[str, str], str] = field(default_factory=dict)
    left_out: Sequence[str] = ()


def record(path: Path, night: Night, leads: Sequence[Lead], **how: object) -> Path:
    """Write a night as EDF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    signals = []
    for lead in leads:
        time = np.arange(round(night.seconds * lead.rate)) / lead.rate
        samples = lead.factor * night.wave(lead.tone, time)
        signals.append(
            make_signal(samples, label=lead.label, rate=lead.rate, unit=lead.unit, reach=lead.reach)
        )
    return write_recording(path, signals, **how)  # type: ignore[arg-type]


def record_with_gap(path: Path, night: Night, leads: Sequence[Lead], *, gap: range) -> Path:
    """Write a night as EDF+D without the seconds of `gap`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [second for second in range(int(night.seconds)) if second not in gap]
    signals = []
    for lead in leads:
        time = np.asarray(kept)[:, None] + np.arange(lead.rate) / lead.rate
        digital = np.rint(lead.factor * night.wave(lead.tone, time) * 32767 / lead.reach)
        signals.append(
            HeaderSignal(
                digital.astype(np.int32), lead.label, lead.unit,
                physical=(f"{-lead.reach:g}", f"{lead.reach:g}"), limits=("-32767", "32767"),
            )
        )  # fmt: skip
    stamps = [f"+{second}\x14\x14\0".encode() for second in kept]
    return write_by_hand(path, signals, stamps=stamps, reserved="EDF+D")


def cut_in_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


SHHS_LEADS = (
    Lead("SaO2", "SPO2", 1, "%", reach=100), Lead("EEG(sec)", "C3", 125), Lead("EMG", "CHIN", 125),
    Lead("ECG", "ECG", 125, "mV", reach=5), Lead("EOG(L)", "E1", 50), Lead("EOG(R)", "E2", 50),
    Lead("EEG", "C4", 125), Lead("AIRFLOW", "OTHER", 50, ""), Lead("NEW AIR", "AIRFLOW", 10, ""),
)  # fmt: skip
SHHS_CHANNELS = {
    "EEG_C4": ["C4"], "EEG_C3": ["C3"], "EOG_L": ["E1"], "EOG_R": ["E2"], "EMG_CHIN": ["CHIN"],
    "ECG": ["ECG"], "AIRFLOW": ["AIRFLOW"], "SPO2": ["SPO2"],
}  # fmt: skip


def write_shhs(folder: Path) -> Cohort:
    """Write two visits of one person, a night of another, and seven spoilt ones."""
    top = folder / "polysomnography"
    for kind in ("nsrr", "profusion"):
        for visit in (1, 2):
            (top / f"annotations-events-{kind}/shhs{visit}").mkdir(parents=True)
    events = [
        (5, 10, "Hypopnea|Hypopnea"), (95, 12.5, "Obstructive apnea|Obstructive Apnea"),
        (140, 16, "Hypopnea|Hypopnea"), (150, 20, "SpO2 desaturation|SpO2 desaturation"),
        (181, 3.5, "Arousal|Arousal ()"),
    ]  # fmt: skip
    seconds = {
        "hypopnea": {0: 10, 4: 10, 5: 6}, "obstructive_apnea": {3: 12.5}, "desaturation": {5: 20},
        "arousal": {6: 3.5}, "central_apnea": {}, "mixed_apnea": {},
    }  # fmt: skip
    nights = {}
    for name, stages in (
        ("shhs1-200001", "WW123RR?W1"), ("shhs2-200001", "W12233RRWW"),
        ("shhs1-200002", "W112233RR?"), *((f"shhs1-20000{n}", "W1233RRR22") for n in range(3, 9)),
    ):  # fmt: skip
        asleep = sum(stage in "123R" for stage in stages)
        # The hypopnea of the first epoch is in wake.
        nights[name] = Night(
            stages, SHHS_CHANNELS, events=seconds, cells={"ahi": f"{round(2 * 120 / asleep, 2)}"}
        )
        visit = name[:5]
        leads = SHHS_LEADS if visit == "shhs1" else (
            *SHHS_LEADS[:1], Lead("EEG2", "C3", 125), *SHHS_LEADS[2:])  # fmt: skip
        if name == "shhs1-200008":
            leads = (*SHHS_LEADS[:6], Lead("EEG", "C4", 125, factor=1e-3, reach=1))
        record(top / f"edfs/{visit}/{name}.edf", nights[name], leads)
        concepts = {"W": NSRR_STAGES[0], "1": NSRR_STAGES[1], "2": NSRR_STAGES[2],
                    "3": NSRR_STAGES[4], "R": NSRR_STAGES[5], "?": "Unscored|9"}  # fmt: skip
        write_nsrr_xml(
            top / f"annotations-events-nsrr/{visit}/{name}-nsrr.xml",
            [(EPOCH * n, EPOCH, concepts[letter]) for n, letter in enumerate(stages)],
            events,
        )
        write_profusion_xml(
            top / f"annotations-events-profusion/{visit}/{name}-profusion.xml", "0" * len(stages)
        )
    xml = top / "annotations-events-nsrr/shhs1"
    cut_in_half(top / "edfs/shhs1/shhs1-200003.edf")
    unknown = xml / "shhs1-200004-nsrr.xml"
    unknown.write_text(unknown.read_text().replace("Stage 1 sleep|1", "Stage 7 sleep|7"))
    (xml / "shhs1-200005-nsrr.xml").write_text(BOMB)
    (xml / "shhs1-200007-nsrr.xml").unlink()
    base = "polysomnography/edfs/shhs1/shhs1-20000"
    rejected = {
        f"{base}3.edf": "truncated file",
        f"{base}4.edf": "unknown stage label",
        f"{base}5.edf": "refused XML",
        f"{base}6.edf": "wrong checksum",
        f"{base}7.edf": "annotation missing",
    }
    good = {
        f"polysomnography_edfs_{name[:5]}_{name}": night
        for name, night in nights.items()
        if f"polysomnography/edfs/{name[:5]}/{name}.edf" not in rejected
    }
    eighth = f"{base}8".replace("/", "_")
    good[eighth] = Night(
        nights["shhs1-200008"].stages,
        {name: tones for name, tones in SHHS_CHANNELS.items() if name not in ("EEG_C4", "AIRFLOW")},
        events=seconds,
    )
    return Cohort(
        good,
        rejected,
        lambda folder: flip_last_byte(folder / f"{base}6.edf"),
        {(eighth, "EEG_C4"): "is the unit 'uV' right?"},
    )


def write_hmc(folder: Path) -> Cohort:
    """Write two nights at 256 Hz, one of them scored by a later clock, and three spoilt ones."""
    folder = folder / "recordings"
    leads = (
        Lead("EEG F4-M1", "OTHER", 256), Lead("EEG C4-M1", "C4", 256), Lead("EEG C3-M2", "C3", 256),
        Lead("EMG chin", "CHIN", 256), Lead("EOG E1-M2", "E1", 256), Lead("EOG E2-M2", "E2", 256),
        Lead("ECG", "ECG", 256, "uV", factor=1000, reach=5000),
    )  # fmt: skip
    channels = {name: tones for name, tones in SHHS_CHANNELS.items()
                if name not in ("AIRFLOW", "SPO2")}  # fmt: skip
    marks = [(45.5, None, "Lights off@@EEG F4-A1"), (241, None, "Lights on@@EEG F4-A1")]
    cells = {"lights_off_s": "45.5", "lights_on_s": "241.0", "ahi": ""}
    names = {"W": "W", "1": "N1", "2": "N2", "3": "N3", "R": "R"}
    nights = {}
    for name, stages in (("SN001", "WW1233RRW"), ("SN002", "?11223RRR"), ("SN003", "W1"),
                         ("SN004", "W12312312"), ("SN005", "W12312312")):  # fmt: skip
        nights[f"recordings_{name}"] = Night(stages + "?", channels, cells=cells)
        record(folder / f"{name}.edf", nights[f"recordings_{name}"], leads)
        scored = [(EPOCH * n, EPOCH, f"Sleep stage {names[letter]}")
                  for n, letter in enumerate(stages) if letter in names]  # fmt: skip
        # The clock of one scoring starts with the first stage, and onsets count from there.
        late = 30.0 if name == "SN002" else 0.0
        write_scoring(
            folder / f"{name}_sleepscoring.edf",
            [(onset - late, *rest) for onset, *rest in (*scored, *marks)],
            start=START + timedelta(seconds=late),
        )
        (folder / f"{name}_sleepscoring.txt").write_text("Date, Time, Recording onset\n")
    unknown = folder / "SN004_sleepscoring.edf"
    unknown.write_bytes(unknown.read_bytes().replace(b"stage N2", b"stage N8"))
    (folder / "SN005_sleepscoring.edf").unlink()
    rejected = {
        "recordings/SN003.edf": "recording too short",
        "recordings/SN004.edf": "unknown stage label",
        "recordings/SN005.edf": "annotation missing",
    }
    good = {name: nights[name] for name in ("recordings_SN001", "recordings_SN002")}
    (folder / "SN006_draft.txt").write_text("0\n")
    return Cohort(good, rejected, left_out=["recordings/SN006_draft.txt"])


def write_mass(folder: Path) -> Cohort:
    """Write pages of 20 s, pages that begin late, a gap (EDF+D), and two spoilt nights."""
    leads = tuple(
        Lead(label, tone, 256, unit, factor)
        for label, tone, unit, factor in (
            ("EEG C3-LER", "C3", "uV", 1.0), ("EEG C4-LER", "C4", "uV", 1.0),
            ("EOG Left Horiz", "E1", "uV", 1.0), ("EOG Right Horiz", "E2", "uV", 1.0),
            ("EMG Chin", "CHIN", "uV", 1.0), ("ECG ECGI", "ECG", "mV", 1.0),
        )
    )  # fmt: skip
    channels = {name: tones for name, tones in SHHS_CHANNELS.items()
                if name not in ("AIRFLOW", "SPO2")}  # fmt: skip

    def score(name: str, pages: str, *, seconds: int, onset: float = 0.0) -> None:
        write_scoring(
            folder / f"{name} Base.edf",
            [(onset + seconds * n, seconds, f"Sleep stage {stage}")
             for n, stage in enumerate(pages)],
        )  # fmt: skip

    nights = {
        # Of three pages, the first and the last lie wholly in an epoch.
        "01-02-0001": Night("WW1233RRW?", channels),
        "01-03-0001": Night("WW1233RRW1", channels, missing=(3, 4)),
        "01-03-0002": Night("W123RRWW1", channels, onset=7.25),
    }
    record(folder / "01-02-0001 PSG.edf", nights["01-02-0001"], leads)
    score("01-02-0001", "WWW112344RRRWW", seconds=20)
    record_with_gap(folder / "01-03-0001 PSG.edf", nights["01-03-0001"], leads, gap=range(100, 145))
    score("01-03-0001", "WW1233RRW1", seconds=30)
    record(folder / "01-03-0002 PSG.edf", nights["01-03-0002"], leads, record_seconds=0.25)
    score("01-03-0002", "W123RRWW1", seconds=30, onset=7.25)
    for name in ("01-05-0001", "01-05-0002"):
        record(folder / f"{name} PSG.edf", nights["01-02-0001"], leads)
        score(name, "WWW112344RRRWW", seconds=20)
    cut_in_half(folder / "01-05-0001 PSG.edf")

    def spoil(folder: Path) -> None:
        (folder / "01-05-0002 Base.edf").unlink()

    rejected = {
        "01-05-0001 PSG.edf": "truncated file",
        "01-05-0002 Base.edf": "missing file",
        "01-05-0002 PSG.edf": "annotation missing",
    }
    return Cohort({f"{name} PSG": night for name, night in nights.items()}, rejected, spoil)


def write_isruc(folder: Path) -> Cohort:
    """Write derivations, electrodes without a reference, two nights of one, and spoilt ones."""
    derived = tuple(
        Lead(label, tone, 200)
        for label, tone in (("LOC-A2", "E1"), ("ROC-A1", "E2"), ("C3-A2", "C3"), ("C4-A1", "C4"),
                            ("X1", "CHIN"), ("X3", "OTHER"))
    )  # fmt: skip
    single = tuple(
        Lead(label, tone, 200, unit, factor, reach)
        for label, tone, unit, factor, reach in (
            ("C4", "C4", "uV", 1.0, 1000.0), ("C3", "C3", "uV", 1.0, 1000.0),
            ("LOC", "E1", "uV", 1.0, 1000.0), ("ROC", "E2", "uV", 1.0, 1000.0),
            ("A1", "M1", "mV", 1e-3, 1.0), ("A2", "M2", "uV", 1.0, 1000.0),
            ("X1", "CHIN", "uV", 1.0, 1000.0),
        )
    )  # fmt: skip
    channels = {"EEG_C4": ["C4"], "EEG_C3": ["C3"], "EOG_L": ["E1"], "EOG_R": ["E2"],
                "EMG_CHIN": ["CHIN"]}  # fmt: skip
    electrodes = channels | {
        "EEG_C4": ["C4", "-M1"], "EEG_C3": ["C3", "-M2"], "EOG_L": ["E1", "-M2"],
        "EOG_R": ["E2", "-M2"],
    }  # fmt: skip
    codes = {"W": 0, "1": 1, "2": 2, "3": 3, "R": 5}
    nights = {}
    for place, stages, leads in (
        ("subgroupI/1/1", "WW1233RR22", derived), ("subgroupI/2/2", "W1122RRR33", single),
        ("subgroupII/1/1/1", "W1233RRW22", derived), ("subgroupII/1/2/2", "11W233RR2W", derived),
        ("subgroupI/3/3", "W1233RRW22", derived), ("subgroupI/4/4", "W1233RRW22", derived),
        ("subgroupIII/1/1", "W1233RRW22", derived),
    ):  # fmt: skip
        nights[place] = Night(stages, electrodes if leads is single else channels)
        record(folder / f"{place}.rec", nights[place], leads)
        scored = "".join(f"{codes[letter]}\r\n" for letter in stages)
        (folder / f"{place}_1.txt").write_bytes(scored.encode())
        (folder / f"{place}_2.txt").write_bytes(scored.replace("0", "1").encode())
    (folder / "subgroupI/3/3_1.txt").write_text("0\n7\n1\n")
    (folder / "subgroupI/4/4_1.txt").unlink()
    rejected = {
        "subgroupI/3/3.rec": "unknown stage label",
        "subgroupI/4/4.rec": "annotation missing",
        "subgroupIII/1/1.rec": "wrong checksum",
    }
    good = {place.replace("/", "_"): night for place, night in nights.items()
            if f"{place}.rec" not in rejected}  # fmt: skip
    return Cohort(good, rejected, lambda folder: flip_last_byte(folder / "subgroupIII/1/1.rec"))


def write_boas(folder: Path) -> Cohort:
    """Write two nights of one person and one of another, and two spoilt ones."""
    leads = (
        Lead("PSG_C4", "C4", 256), Lead("PSG_C3", "C3", 256), Lead("PSG_EOGL", "E1", 256),
        Lead("PSG_EOGR", "E2", 256), Lead("PSG_EMG", "CHIN", 256),
        Lead("PSG_THER", "AIRFLOW", 256, ""), Lead("PSG_SPO2", "SPO2", 256, "", reach=100),
    )  # fmt: skip
    channels = {name: tones for name, tones in SHHS_CHANNELS.items() if name != "ECG"}
    nights = {}
    scorings = ("WW123RR?W1", "W12233RRWW", "1122RR33W?", "W1233RR", "W12W12W12W")
    for number, stages in enumerate(scorings, 1):
        base = f"sub-{number}/eeg/sub-{number}_task-Sleep_acq-"
        nights[base] = Night(stages, channels, cells={"ahi": ""})
        record(folder / f"{base}psg_eeg.edf", nights[base], leads)
        record(folder / f"{base}headband_eeg.edf", nights[base], [Lead("HB_1", "OTHER")])
        code = {"?": 8, "R": 4} | {letter: CODES[letter] for letter in "W123"}
        lines = [f"{EPOCH * n}\t{EPOCH}\t{1 if number == 4 and n == 2 else 0}\t{code[letter]}\t0"
                 for n, letter in enumerate(stages)]  # fmt: skip
        (folder / f"{base}psg_events.tsv").write_text(
            "\n".join(["onset\tduration\toffset\tstage_hum\tstage_ai", *lines]) + "\n"
        )
    unknown = folder / "sub-4/eeg/sub-4_task-Sleep_acq-psg_events.tsv"
    unknown.write_text(unknown.read_text().replace("\t0\t4\t0", "\t0\t6\t0"))
    (folder / "participants.tsv").write_text(
        "participant_id\tpid\nsub-1\t89\nsub-2\t89\nsub-3\t7\nsub-4\t8\nsub-5\t9\n"
    )

    def spoil(folder: Path) -> None:
        (folder / "sub-5/eeg/sub-5_task-Sleep_acq-psg_eeg.edf").unlink()

    base = "sub-{0}/eeg/sub-{0}_task-Sleep_acq-psg_eeg.edf"
    rejected = {base.format(4): "unknown stage label", base.format(5): "missing file"}
    good = {f"{place}psg_eeg".replace("/", "_"): night for place, night in nights.items()
            if f"{place}psg_eeg.edf" not in rejected}  # fmt: skip
    return Cohort(good, rejected, spoil)


def write_bids(folder: Path) -> Cohort:
    """Write a night of BrainVision, one of EDF, and spoilt ones."""
    channels = {"EEG_C4": ["C4"], "AIRFLOW": ["AIRFLOW"]}
    names = {"W": "W", "1": "N1", "2": "N2", "3": "N3", "R": "R", "?": "Sleep stage ?"}
    nights = {}
    for subject, session, stages in (("01", 1, "WW123RR?W1"), ("01", 2, "W12233RRWW"),
                                     ("02", 1, "W12233RRWW"), ("03", 1, "W12233RRWW")):  # fmt: skip
        base = f"sub-{subject}/ses-{session}/eeg/sub-{subject}_ses-{session}_task-sleep"
        night = nights[f"{base}_eeg"] = Night(stages, channels)
        place = folder / base
        place.parent.mkdir(parents=True)
        if session == 2:
            leads = [Lead("C4-M1", "C4", 200, "V", 1e-6, 0.001), Lead("Flow", "AIRFLOW", 20, "")]
            record(place.with_name(f"{place.name}_eeg.edf"), night, leads)
        else:
            time = np.arange(round(100 * night.seconds)) / 100
            samples = np.stack(
                [night.wave("C4", time) / 0.1, night.wave("AIRFLOW", time) / 0.5], axis=1
            )
            write_brainvision(place.parent, name=f"{place.name}_eeg", labels=("C4-M1", "Flow"),
                              samples=np.rint(samples))  # fmt: skip
        lines = [f"{EPOCH * n}\t{EPOCH}\t{names[letter]}" for n, letter in enumerate(stages)]
        place.with_name(f"{place.name}_events.tsv").write_text(
            "\n".join(["onset\tduration\ttrial_type", *lines]) + "\n"
        )
    third = "sub-03/ses-1/eeg/sub-03_ses-1_task-sleep"
    unknown = folder / f"{third}_events.tsv"
    unknown.write_text(unknown.read_text().replace("N3", "Sleep stage N8"))
    second = "sub-02/ses-1/eeg/sub-02_ses-1_task-sleep_eeg"
    rejected = {
        f"{second}.eeg": "missing file",
        f"{second}.vhdr": "companion file not usable",
        f"{third}_eeg.vhdr": "unknown stage label",
    }
    good = {place.replace("/", "_"): night for place, night in nights.items()
            if f"{place}.vhdr" not in rejected}  # fmt: skip
    return Cohort(good, rejected, lambda folder: (folder / f"{second}.eeg").unlink())


def write_folder(folder: Path) -> Cohort:
    """Write nights without a scoring, with the usual names, and spoilt ones."""
    leads = (
        Lead("EEG C4-A1", "C4", 200), Lead("EEG C3-A2", "C3", 200), Lead("EOG(L)", "E1", 200),
        Lead("EOG(R)", "E2", 200), Lead("EMG Chin", "CHIN", 200, "mV", 1e-3, 1),
        Lead("EKG", "ECG", 200, "mV", reach=5), Lead("Airflow", "AIRFLOW", 25, ""),
        Lead("SpO2", "SPO2", 1, "%", reach=100),
    )  # fmt: skip
    other = (Lead("E1", "E1", 200), Lead("M2", "M2", 200), Lead("C4", "C4", 200))
    nights = {
        "a": Night("?" * 10, SHHS_CHANNELS),
        "b": Night("?" * 10, {"EOG_L": ["E1", "-M2"], "EEG_C4": ["C4", "-M2"]}),
    }
    record(folder / "a.edf", nights["a"], leads)
    record(folder / "b.rec", nights["b"], other)
    record(folder / "c.edf", nights["a"], leads)
    cut_in_half(folder / "c.edf")
    (folder / "d.edf").write_bytes(b"this is no EDF file\n" * 100)
    record(folder / "e.edf", nights["a"], [Lead("Status", "OTHER")])
    rejected = {"c.edf": "truncated file", "d.edf": "not an EDF file", "e.edf": "no usable channel"}
    return Cohort(nights, rejected, remarks={("b", "EEG_C4"): "derived as C4-M2"})


WRITERS: Mapping[str, Callable[[Path], Cohort]] = {
    "shhs": write_shhs, "hmc": write_hmc, "mass": write_mass, "isruc": write_isruc,
    "boas": write_boas, "bids": write_bids, "folder": write_folder,
}  # fmt: skip
