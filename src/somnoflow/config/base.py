"""What every section of the configuration shares: unknown keys are errors, values never change."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One block of `config.yaml`; `extra="forbid"` turns a typo into an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ConfigError(ValueError):
    """The configuration cannot be used; the message has one line per mistake."""
