"""The arithmetic that a training may ask for."""

from typing import Literal

Precision = Literal["auto", "float32", "bfloat16"]
