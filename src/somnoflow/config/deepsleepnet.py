"""Section `supervised.deepsleepnet`: its two-step training (IEEE TNSRE 25:1998, 2017)."""

from pydantic import Field

from somnoflow.config.recipe import SupervisedRecipe


class DeepSleepNet(SupervisedRecipe):
    """DeepSleepNet: the CNNs on balanced epochs, then the whole on nights in order."""

    simplified: bool = Field(
        False, description="Kernels of 8 and pools of 8 and 4 in both branches, a later variant."
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout. Published: 0.5.")
    cnn_passes: int = Field(
        6, ge=1, description="Passes of the first step, over balanced epochs. Published: 100."
    )
    cnn_batch_size: int = Field(
        32, ge=2, description="Epochs per step of the first step. Published: 100."
    )
    cnn_learning_rate: float = Field(
        1e-3, gt=0, description="Adam's learning rate in the first step. Published: 1e-4."
    )
    passes: int = Field(
        6, ge=1, description="Passes of the second step, over nights. Published: 200."
    )
    window: int = Field(
        25, ge=1, description="Epochs of a window; the state goes on to the next. Published: 25."
    )
    batch_size: int = Field(
        2, ge=1, description="Windows per step, at as many places of a night. Published: 10."
    )
    learning_rate: float = Field(
        3e-3, gt=0, description="Adam's learning rate of the sequence part. Published: 1e-4."
    )
    tuned_learning_rate: float = Field(
        1e-5, ge=0, description="Adam's learning rate of the CNNs in it. Published: 1e-6."
    )
    gradient_clip: float = Field(
        10.0, ge=0, description="Largest gradient norm in the second step. Published: 10."
    )
    weight_decay: float = Field(
        1e-3, ge=0, description="L2 penalty of the two first convolutions. Published: 1e-3."
    )
