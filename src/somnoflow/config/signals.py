"""Section `signals`: which channels are kept and how they are filtered, resampled and flagged."""

from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from somnoflow.config.base import Section

Channel = Literal[
    "EEG_C4", "EEG_C3", "EEG_F3", "EEG_F4", "EEG_O1", "EEG_O2", "EEG_Fpz", "EEG_Pz",
    "EOG_L", "EOG_R", "EMG_CHIN", "ECG", "AIRFLOW", "THORAX", "ABDOMEN", "SPO2",
]  # fmt: skip
Electrode = Literal[
    "F3", "F4", "C3", "C4", "O1", "O2", "Fpz", "Cz", "Pz", "Oz", "M1", "M2", "E1", "E2",
    "CHIN1", "CHIN2", "CHIN3", "ECG1", "ECG2",
]  # fmt: skip
Modality = Literal["EEG", "EOG", "EMG", "ECG", "AIRFLOW", "THORAX", "ABDOMEN", "SPO2"]


class Quality(Section):
    """Thresholds of the per-epoch quality flags.

    Flat, clipped and line noise are looked for in the signal as recorded, out of range in the
    filtered one: an offset of the recorder is no artefact.
    """

    flat_std: float = Field(
        0.1,
        ge=0,
        description="A 30-s epoch whose unfiltered standard deviation is at or below this many uV "
        "is flagged flat (signals in V, mV or uV).",
    )
    flat_fraction: float = Field(
        0.5,
        gt=0,
        le=1,
        description="An epoch is also flat when more than this share of it is one constant value.",
    )
    clipped_fraction: float = Field(
        0.05,
        gt=0,
        le=1,
        description="An epoch with more than this share of its samples at the limits of the "
        "recorder is flagged clipped.",
    )
    ranges: dict[Modality, tuple[float, float]] = Field(
        default={
            "EEG": (-250, 250),
            "EOG": (-500, 500),
            "EMG": (-500, 500),
            "ECG": (-5, 5),
            "SPO2": (50, 101),
        },
        description="Values that a modality has in a sleeper, in the unit it is stored in (uV; ECG "
        "mV; SpO2 %); a modality not named is never out of range.",
    )
    out_of_range_fraction: float = Field(
        0.1,
        gt=0,
        le=1,
        description="An epoch with more than this share of its filtered samples outside `ranges` "
        "is flagged out of range.",
    )
    line_noise_fraction: float = Field(
        0.5,
        gt=0,
        le=1,
        description="An epoch with more than this share of its unfiltered power within 1 Hz of 50 "
        "or 60 Hz is flagged line noise, where the sampling rate reaches that far.",
    )
    line_only_fraction: float = Field(
        0.95,
        gt=0,
        le=1,
        description="Above this share of line noise, no signal is left for `disconnected_epochs`.",
    )
    disconnected_epochs: int = Field(
        20,
        ge=1,
        description="So many or more epochs on end that are flat, clipped, out of range or nothing "
        "but line noise are flagged disconnected. Zero lines do not count: nothing was recorded.",
    )

    @model_validator(mode="after")
    def _check(self) -> "Quality":
        for modality, (low, high) in self.ranges.items():
            if not low < high:
                raise ValueError(f"range of {modality} is {low} to {high}, wanted low < high")
        if self.line_only_fraction < self.line_noise_fraction:
            raise ValueError(
                f"line_only_fraction is {self.line_only_fraction}, wanted at least "
                f"line_noise_fraction ({self.line_noise_fraction})"
            )
        return self


class Signals(Section):
    """Canonical channels, filters and sampling rate of the parsed signals."""

    channels: list[Channel] = Field(
        default=["EEG_C4", "EEG_C3", "EOG_L", "EOG_R", "EMG_CHIN", "ECG", "AIRFLOW", "SPO2"],
        min_length=1,
        description="Canonical channels to keep, where a recording has them; a modality such as "
        "`EEG` stands for all of its channels.",
    )
    sampling_rate: int = Field(
        100, ge=10, le=1000, description="Sampling rate after resampling, in Hz."
    )
    filters: dict[Modality, tuple[float, float]] = Field(
        default={
            "EEG": (0.5, 40),
            "EOG": (0.5, 40),
            "EMG": (25, 49),
            "ECG": (3, 30),
            "AIRFLOW": (0.05, 1),
            "THORAX": (0.05, 1),
            "ABDOMEN": (0.05, 1),
        },
        description="Band-pass in Hz per modality, applied to the whole recording "
        "(SynthSleepNet, section 2 of its paper); a modality not named is not filtered.",
    )
    minimum_minutes: float = Field(
        5, ge=0.5, description="Shorter recordings are rejected, in minutes."
    )
    maximum_hours: float = Field(
        72, gt=0, description="Longer recordings are rejected, in hours: a header may lie."
    )
    wake_margin_minutes: float | None = Field(
        None,
        ge=0,
        description="Keep this many minutes of wake before the first and after the last epoch of "
        "sleep, and drop the rest of a scored recording; all is kept where null. Sleep-EDF is "
        "published with 30.",
    )
    quality: Quality = Quality()

    @field_validator("channels", mode="before")
    @classmethod
    def _expand_groups(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        groups = {name: [name] for name in get_args(Channel)}
        for modality in get_args(Modality):
            members = [name for name in groups if name.split("_")[0] == modality]
            groups[modality] = members
        return [name for given in value for name in groups.get(str(given), [given])]

    @model_validator(mode="after")
    def _check(self) -> "Signals":
        if len(set(self.channels)) != len(self.channels):
            raise ValueError("channels are named twice")
        for modality, (low, high) in self.filters.items():
            if not 0 <= low < high < self.sampling_rate / 2:
                raise ValueError(
                    f"filter of {modality} is {low}-{high} Hz, wanted 0 <= low < high < "
                    f"{self.sampling_rate / 2:g} Hz (half of sampling_rate)"
                )
        return self
