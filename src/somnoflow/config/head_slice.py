"""What one head job needs."""

from somnoflow.config.base import Section
from somnoflow.config.heads import Knn, Linear


class HeadSlice(Section):
    """The recipe of the one probe that is trained; its type says which."""

    recipe: Linear | Knn
