"""The traits of one simulated subject: what stays the same through the night.

Everything that makes two simulated people differ is drawn here, once, from the subject's name and
the seed. The other modules of `somnoflow.simulate` read these traits and draw what varies in time.
"""

import zlib
from dataclasses import dataclass

import numpy as np

N_EEG_BANDS = 7


@dataclass(frozen=True)
class Traits:
    """Traits of one simulated subject.

    Attributes
    ----------
    age : float
        Age in years, 20 to 80.
    wake_tendency, light_tendency, deep_tendency, rem_tendency : float
        Factors on the odds of falling into W, N1, N3 and REM. N3 falls and wake rises with age
        (Ohayon et al. 2004, Sleep 27:1255).
    amplitude : float
        Factor on the EEG amplitude.
    slope : float
        Deviation of the exponent of the 1/f background (decades of power per decade of frequency).
    band_gain : np.ndarray
        Deviation of the log10 power in bands, per stage, shape (5, 7).
    stage_gain : np.ndarray
        Factor on the EEG amplitude in W, N1, N2, N3, REM, shape (5,).
    alpha_hz, alpha_uv : float
        Peak frequency and amplitude of the posterior rhythm as seen at C4-M1; about one person in
        eight has next to none. Mean 10 Hz, slower with age (Klimesch 1999, Brain Res Rev 29:169).
    spindle_hz, spindle_uv, spindle_per_min : float
        Central spindles: 13.3 +- 0.6 Hz, about 2 to 6 per minute of N2 (Purcell et al. 2017,
        Nature Communications 8:15930); fewer and smaller with age.
    k_per_min : float
        K-complexes per minute of N2 (Colrain 2005, Sleep 28:255).
    slow_wave_uv : float
        Amplitude scale of the single slow waves of N3, which overlap; each has about 0.4 of it.
    eye_uv : float
        Amplitude of a 20 degree saccade in each EOG channel.
    chin_uv : np.ndarray
        Chin EMG tone (standard deviation, uV) in W, N1, N2, N3, REM, shape (5,).
    heart_rate : float
        Beats per minute in quiet NREM sleep (mean 62, SD 8).
    heart_variability : float
        Respiratory sinus arrhythmia, fraction of the RR interval; falls with age
        (Task Force 1996, Circulation 93:1043).
    breathing_rate : float
        Breaths per minute (mean 15, SD 2; Douglas et al. 1982, Thorax 37:840).
    apnea_index : float
        Respiratory events per hour of sleep that the night tends to.
    central_share, rem_apnea_ratio : float
        How far central apneas outweigh the cohort's mix (0 none to 1 fourfold); rate in REM
        relative to N2.
    oxygen_saturation : float
        Baseline SpO2 in percent.
    desaturation_gain, circulation_delay_s : float
        Depth factor of desaturations; delay from lung to finger in seconds.
    arousal_index : float
        Spontaneous arousals per hour of sleep, rising with age (Bonnet and Arand 2007, J Clin
        Sleep Med 3:267).
    mains_hz, mains_uv : float
        Mains frequency (50 or 60 Hz) and typical amplitude.
    noise_uv : float
        Amplifier and electrode noise, standard deviation.
    highpass_hz, lowpass_hz : float
        Corner frequencies of the acquisition filters of EEG and EOG.
    sweat_uv : float
        Slow sway in step with breathing; zero in most people.
    heart_leak : float
        Share of the ECG (in uV) that reaches the mastoid reference.
    eye_leak : float
        Share of the EOG potentials that reaches the central EEG.
    muscle_uv : float
        Scalp and neck muscle in the EEG of tense wake, standard deviation.
    movement_per_hour, pops_per_hour : float
        Body movements and electrode pops.
    """

    age: float
    wake_tendency: float
    light_tendency: float
    deep_tendency: float
    rem_tendency: float
    amplitude: float
    slope: float
    band_gain: np.ndarray
    stage_gain: np.ndarray
    alpha_hz: float
    alpha_uv: float
    spindle_hz: float
    spindle_uv: float
    spindle_per_min: float
    k_per_min: float
    slow_wave_uv: float
    eye_uv: float
    chin_uv: np.ndarray
    heart_rate: float
    heart_variability: float
    breathing_rate: float
    apnea_index: float
    central_share: float
    rem_apnea_ratio: float
    oxygen_saturation: float
    desaturation_gain: float
    circulation_delay_s: float
    arousal_index: float
    mains_hz: float
    mains_uv: float
    noise_uv: float
    highpass_hz: float
    lowpass_hz: float
    sweat_uv: float
    heart_leak: float
    eye_leak: float
    muscle_uv: float
    movement_per_hour: float
    pops_per_hour: float


def make_rng(subject: str, seed: int, part: str) -> np.random.Generator:
    """Make the generator of one part of one subject, independent of all others."""
    keys = [zlib.crc32(subject.encode()), seed, zlib.crc32(part.encode())]
    return np.random.default_rng(keys)


def lognormal(rng: np.random.Generator, median: float, spread: float) -> float:
    """Draw a log-normal value from median and spread of the logarithm, cut at 2.2 spreads."""
    return float(median * np.exp(spread * np.clip(rng.standard_normal(), -2.2, 2.2)))


def clipped_normal(
    rng: np.random.Generator, mean: float, sd: float, *, low: float, high: float
) -> float:
    """Draw a normal value and clip it to a plausible range."""
    return float(np.clip(rng.normal(mean, sd), low, high))


def draw_apnea_index(rng: np.random.Generator, clinic_quantiles: np.ndarray) -> float:
    """Draw an apnea-hypopnea index: a quarter of the cohort is healthy, the rest as in a clinic.

    Parameters
    ----------
    rng : np.random.Generator
        Source of randomness.
    clinic_quantiles : np.ndarray
        Evenly spaced quantiles of the index in a sleep clinic (events per hour of sleep).
    """
    if rng.random() < 0.35:
        return float(rng.choice([0.0, rng.uniform(0.3, 5.0)]))
    position = rng.random() * (len(clinic_quantiles) - 1)
    return float(np.interp(position, np.arange(len(clinic_quantiles)), clinic_quantiles))


def draw_chin_tone(rng: np.random.Generator) -> np.ndarray:
    """Draw the chin EMG tone of the five stages in uV, lowest in REM in nearly everybody."""
    falling = np.array([0.55, 0.42, 0.38]) * np.exp(0.12 * rng.standard_normal(3))
    relative = np.r_[1.0, np.minimum(-np.sort(-falling) * lognormal(rng, 1.0, 0.22), 0.85), 0.0]
    relative[4] = relative[3] * min(0.9, lognormal(rng, 0.6, 0.25))
    return lognormal(rng, 7.5, 0.45) * relative


def draw_traits(
    rng: np.random.Generator, *, clinic_quantiles: np.ndarray, amplitude_sd: float
) -> Traits:
    """Draw one subject.

    Parameters
    ----------
    rng : np.random.Generator
        Source of randomness; the only one.
    clinic_quantiles : np.ndarray
        Quantiles of the apnea-hypopnea index in a sleep clinic (events per hour).
    amplitude_sd : float
        Between-subject standard deviation of the log EEG amplitude.
    """
    age = float(rng.uniform(20, 80))
    old = (age - 30) / 10
    apnea_index = draw_apnea_index(rng, clinic_quantiles)
    broken = float(np.log1p(apnea_index / 15))
    amplitude = lognormal(rng, float(np.exp(-0.05 * old)), amplitude_sd)
    alpha_median = 3.0 if rng.random() < 0.12 else 11.0
    return Traits(
        age=age,
        wake_tendency=lognormal(rng, np.exp(0.15 * old + 0.25 * broken), 0.35),
        light_tendency=lognormal(rng, np.exp(0.08 * old + 0.25 * broken), 0.3),
        # Scorers count slow waves above 75 uV (AASM manual): high amplitude means more N3.
        deep_tendency=lognormal(rng, amplitude * np.exp(-0.1 * old - 0.15 * broken), 0.3),
        rem_tendency=lognormal(rng, 1.0, 0.2),
        amplitude=amplitude,
        slope=float(rng.normal(0.04 * old, 0.3)),
        band_gain=0.12 * rng.standard_normal(N_EEG_BANDS)
        + 0.05 * rng.normal(size=(5, N_EEG_BANDS)),
        stage_gain=np.exp(0.07 * rng.standard_normal(5)),
        alpha_hz=clipped_normal(rng, 10.0 - 0.12 * old, 0.8, low=7.8, high=12.3),
        alpha_uv=lognormal(rng, alpha_median, 0.4),
        spindle_hz=clipped_normal(rng, 13.3, 0.6, low=11.5, high=15.0),
        spindle_uv=lognormal(rng, 20.0 * np.exp(-0.06 * old), 0.3),
        spindle_per_min=lognormal(rng, 4.5 * np.exp(-0.06 * old), 0.4),
        k_per_min=lognormal(rng, 1.4 * np.exp(-0.05 * old), 0.4),
        slow_wave_uv=lognormal(rng, 95.0 * np.exp(-0.07 * old), 0.2),
        eye_uv=lognormal(rng, 145.0, 0.35),
        chin_uv=draw_chin_tone(rng),
        heart_rate=clipped_normal(rng, 62.0, 8.0, low=42.0, high=95.0),
        heart_variability=lognormal(rng, 0.05 * np.exp(-0.2 * old), 0.4),
        breathing_rate=clipped_normal(rng, 15.0, 2.0, low=10.0, high=21.0),
        apnea_index=apnea_index,
        central_share=float(rng.beta(0.6, 2.5)),
        rem_apnea_ratio=lognormal(rng, 1.2, 0.6),
        oxygen_saturation=clipped_normal(rng, 96.0 - 0.25 * old, 1.0, low=91.0, high=99.0),
        desaturation_gain=lognormal(rng, 1.0, 0.35),
        circulation_delay_s=clipped_normal(rng, 16.0, 4.0, low=8.0, high=28.0),
        arousal_index=lognormal(rng, 9.0 * np.exp(0.12 * old), 0.3),
        mains_hz=float(rng.choice([50.0, 60.0])),
        mains_uv=lognormal(rng, 0.6, 0.9),
        noise_uv=lognormal(rng, 0.7, 0.5),
        highpass_hz=float(rng.choice([0.1, 0.16, 0.3])),
        lowpass_hz=float(rng.choice([35.0, 45.0, 60.0])),
        sweat_uv=lognormal(rng, 12.0, 0.5) * float(rng.random() < 0.15),
        heart_leak=lognormal(rng, 0.004, 0.8),
        eye_leak=lognormal(rng, 0.09, 0.4),
        muscle_uv=lognormal(rng, 5.0, 0.7),
        movement_per_hour=lognormal(rng, 5.0, 0.5),
        pops_per_hour=lognormal(rng, 0.8, 0.9),
    )
