"""Why a file is not used: what was found, what was wanted, what to do."""

from dataclasses import asdict, dataclass


@dataclass
class Rejection(Exception):  # noqa: N818 - the row it becomes, more than an error
    """A recording, file or channel that cannot be used; a row of the rejected table."""

    problem: str
    found: str
    wanted: str
    advice: str

    def __str__(self) -> str:
        return f"{self.problem}: found {self.found}, wanted {self.wanted}. {self.advice}"

    def row(self) -> dict[str, str]:
        """Give the four texts by name."""
        return asdict(self)
