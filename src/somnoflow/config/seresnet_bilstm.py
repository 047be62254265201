"""Section `supervised.seresnet_bilstm`: SE-ResNet and BiLSTM on five epochs."""

from pydantic import Field

from somnoflow.config.recipe import Augmentation, SupervisedRecipe


class SeResNetBiLstm(SupervisedRecipe):
    """SE-ResNet-BiLSTM: the stage of the middle one of five epochs."""

    window: int = Field(
        5, ge=1, description="Epochs that the stage of the middle one is told from. Published: 5."
    )
    stride: int = Field(
        1,
        ge=1,
        description="Step between the labelled epochs that are learned in a pass, others in each. "
        "Published: larger ones train eight times faster.",
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="Dropout between the LSTM's layers. Ours.")
    passes: int = Field(15, ge=1, description="Passes over the epochs. Not published.")
    batch_size: int = Field(32, ge=2, description="Labelled epochs per step. Published: 128.")
    learning_rate: float = Field(3e-3, gt=0, description="Adam's learning rate. Published: 1e-3.")
    augment: Augmentation = Augmentation()
