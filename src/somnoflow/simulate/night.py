"""One simulated night: stages, events and signals of one subject, as arrays.

Nothing here is real: traits, stages, events and signals are drawn from fitted statistics and
published values. The draws of a subject depend on its name, the seed and the length alone; each
part (traits, hypnogram, EEG, ...) has its own generator, so a change in one leaves the others as
they are.
"""

from dataclasses import dataclass

import numpy as np

from somnoflow.simulate import artefacts, eeg, events, hypnogram, peripheral
from somnoflow.simulate.subject import Traits, draw_traits, make_rng

MIN_HOURS = 0.1


@dataclass(frozen=True)
class Signal:
    """One channel.

    Attributes
    ----------
    label : str
        Channel label as in the EDF header.
    unit : str
        Physical dimension: uV, mV, % or a.u.
    sampling_rate : float
        In Hz.
    samples : np.ndarray
        Physical values, float32, shape (n_epochs * 30 * sampling_rate,).
    """

    label: str
    unit: str
    sampling_rate: float
    samples: np.ndarray


@dataclass(frozen=True)
class Night:
    """One simulated night.

    Attributes
    ----------
    subject : str
        Name of the subject.
    stages : np.ndarray
        AASM stage of each 30-s epoch: 0 W, 1 N1, 2 N2, 3 N3, 4 REM; int8, shape (n_epochs,).
    events : list of tuple
        (onset_s, duration_s, label) sorted by onset. Labels: Obstructive apnea, Central apnea,
        Mixed apnea, Hypopnea, Oxygen desaturation, Arousal.
    signals : list of Signal
        The channels.
    """

    subject: str
    stages: np.ndarray
    events: list[tuple[float, float, str]]
    signals: list[Signal]


def simulate_traits(subject: str, *, seed: int) -> Traits:
    """Draw the traits of a subject; nights of any length share them."""
    return draw_traits(
        make_rng(subject, seed, "traits"),
        clinic_quantiles=events.load_statistics().index,
        amplitude_sd=float(eeg.load_amplitudes()[1][2]),
    )


def simulate_night(subject: str, *, seed: int, hours: float) -> Night:
    """Simulate one night.

    Parameters
    ----------
    subject : str
        Name of the subject, e.g. S0001; the same name and seed give the same night.
    seed : int
        Seed of the cohort, not negative.
    hours : float
        Length in hours, at least 0.1; rounded to whole 30-s epochs.

    Returns
    -------
    Night
        Stages, events and signals.

    Raises
    ------
    ValueError
        If the night is shorter than 0.1 hours.
    """
    if hours < MIN_HOURS:
        raise ValueError(
            f"A simulated night of {hours} h is too short: use at least {MIN_HOURS} h."
        )
    n_epochs = round(hours * 3600 / hypnogram.EPOCH_S)
    traits = simulate_traits(subject, seed=seed)
    stages = hypnogram.simulate_hypnogram(make_rng(subject, seed, "hypnogram"), traits, n_epochs)
    happened = events.simulate_events(make_rng(subject, seed, "events"), traits, stages)
    signals = _simulate_signals(subject, seed, traits=traits, stages=stages, happened=happened)
    return Night(subject, stages, happened.as_annotations(), signals)


def _simulate_signals(
    subject: str,
    seed: int,
    *,
    traits: Traits,
    stages: np.ndarray,
    happened: events.SleepEvents,
) -> list[Signal]:
    night_s = len(stages) * hypnogram.EPOCH_S
    n = int(night_s * eeg.EEG_RATE)
    state = eeg.simulate_state(make_rng(subject, seed, "state"), stages, happened)
    fields = eeg.simulate_fields(make_rng(subject, seed, "eeg"), traits, state, n)
    eyes = peripheral.simulate_eyes(make_rng(subject, seed, "eyes"), traits, state, n)
    flow, phase = peripheral.simulate_breathing(
        make_rng(subject, seed, "breathing"), traits, state, happened, night_s=night_s
    )
    ecg = peripheral.simulate_ecg(
        make_rng(subject, seed, "heart"),
        traits,
        state,
        happened,
        breathing_phase=phase,
        night_s=night_s,
    )
    heart = peripheral.leak_heart(ecg, traits, n)
    rng = make_rng(subject, seed, "electrodes")
    noise = rng.standard_normal((2, n), dtype=np.float32) * np.float32(traits.noise_uv)
    # The eye nearer to the electrode leaks more; both are seen against the other mastoid.
    leak = np.float32(traits.eye_leak)
    left_eye, right_eye = peripheral.simulate_eog(
        make_rng(subject, seed, "eog"), fields=fields, eyes=eyes, traits=traits
    )
    muscle = peripheral.simulate_muscle(make_rng(subject, seed, "muscle"), traits, state, n)
    electrodes = {
        "EEG C4-M1": fields.right + leak * (eyes[1] + 0.3 * eyes[0]) + heart + muscle + noise[0],
        "EEG C3-M2": fields.left
        + leak * (eyes[0] + 0.3 * eyes[1])
        - 0.6 * heart
        + 0.8 * muscle
        + noise[1],
        "EOG E1-M2": left_eye - 0.8 * heart + 0.4 * muscle,
        "EOG E2-M2": right_eye - 0.8 * heart + 0.35 * muscle,
        "EMG Chin": peripheral.simulate_chin(make_rng(subject, seed, "chin"), traits, state, n)
        + 0.5 * heart,
    }
    artefacts.add_artefacts(
        rng,
        electrodes,
        traits=traits,
        movement=artefacts.draw_movement(rng, traits, state),
        breathing=np.repeat(flow, round(eeg.EEG_RATE / peripheral.AIRFLOW_RATE)),
    )
    artefacts.lose_electrodes(make_rng(subject, seed, "lost"), electrodes)
    spo2 = peripheral.simulate_spo2(
        make_rng(subject, seed, "oxygen"), traits, happened, night_s=night_s
    )
    return [
        *(Signal(label, "uV", eeg.EEG_RATE, samples) for label, samples in electrodes.items()),
        Signal("ECG", "mV", peripheral.ECG_RATE, ecg),
        Signal("Airflow", "a.u.", peripheral.AIRFLOW_RATE, flow),
        Signal("SpO2", "%", peripheral.SPO2_RATE, spo2),
    ]
