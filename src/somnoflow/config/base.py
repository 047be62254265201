"""What every section of the configuration shares: unknown keys are errors, values never change."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One block of `config.yaml`: a typo is an error, and so is an endless number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ConfigError(ValueError):
    """The configuration cannot be used; the message has one line per mistake."""
