"""What one head job needs."""

from somnoflow.config.base import Section
from somnoflow.config.heads import HeadName, Knn, Linear


class HeadSlice(Section):
    """Which probe is trained, and how each is."""

    name: HeadName
    linear: Linear
    knn: Knn
