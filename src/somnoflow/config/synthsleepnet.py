"""Section `synthsleepnet`: several modalities as one embedding of an epoch."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator

from somnoflow.config.base import Section
from somnoflow.config.context import ContextName
from somnoflow.config.finetune import FinetuneRecipe
from somnoflow.config.heads import HeadName, Linear
from somnoflow.config.precision import Precision
from somnoflow.config.signals import Channel
from somnoflow.config.tasks import TASK_CHOICES, TaskName

SYNTHSLEEPNET = "synthsleepnet"
LORA = "lora"
ALL = "all"
FusedName = Annotated[str, Field(pattern=rf"^{LORA}-({'|'.join(get_args(ContextName))})$")]


class Lora(Section):
    """Low-rank adaptation of frozen layers (arXiv 2106.09685), rank-stabilised."""

    rank: int = Field(4, ge=1, description="Rank of the update. Published: 4.")
    alpha: float = Field(
        16, gt=0, description="Scale of the update, over the root of the rank. Published: 16."
    )
    dropout: float = Field(
        0.05, ge=0, lt=1, description="Dropout before the update. Published: 0.05."
    )


class TuningLora(Lora):
    """Low-rank adaptation in fine-tuning."""

    alpha: float = Field(
        8, gt=0, description="Scale of the update, over the root of the rank. Published: 8."
    )


class FusionRecipe(Section):
    """One training of the multimodal stage (arXiv 2502.17481)."""

    preset: Literal["tiny", "published"] = Field(
        "tiny", description="Size of the fusion: `tiny` for laptops and tests, or as `published`."
    )
    mask_ratio: float = Field(
        0.4,
        gt=0,
        lt=1,
        description="Share of each channel's frames that is hidden. Published: 0.4.",
    )
    stop_gradient: bool = Field(
        False,
        description="Take the channels' tokens as a fixed target of the prediction. Published: "
        "no, the adapters are trained by their own target.",
    )
    temperature: float = Field(
        0.1, gt=0, description="Temperature of the NT-Xent losses. Published: 0.1."
    )
    alpha: float = Field(1.0, ge=0, description="Weight of the NT-Xent losses. Published: 1.")
    modality_dropout: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Chance that a channel of an epoch is left out in training, so that "
        "recordings without it can be scored; at least one stays. Published: 0.",
    )
    lora: Lora = Lora()
    passes: int = Field(6, ge=1, description="Passes over the epochs. Published: 100.")
    batch_size: int = Field(64, ge=2, description="30-s epochs per batch. Published: 256.")
    accumulate: int = Field(
        1, ge=1, description="Batches whose gradients are added up for one optimiser step."
    )
    learning_rate: float = Field(
        1e-3, gt=0, description="AdamW's peak learning rate. Published: 1e-4."
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW's weight decay. Published: 0.01.")
    warmup: float = Field(
        0.1, ge=0, lt=1, description="Share of the steps with a linearly rising learning rate."
    )
    gradient_clip: float = Field(
        2.0, ge=0, description="Largest gradient norm; 0 switches clipping off. Published: 2."
    )
    precision: Precision = Field("auto", description="As in `pretrain`.")
    seed: int = Field(1, ge=0, description="Seed of initial weights, order and masks.")


class DeepLinear(Linear):
    """The published probe: three linear layers (arXiv 2502.17481)."""

    passes: int = Field(40, ge=1, description="Passes over the labelled epochs. Published: 100.")
    learning_rate: float = Field(
        1e-3, gt=0, description="AdamW's peak learning rate. Published: 2e-4."
    )
    dropout: float = Field(
        0.5, ge=0, lt=1, description="Dropout after each hidden layer. Published: 0.5."
    )
    hidden: list[Annotated[float, Field(gt=0)]] = Field(
        default=[0.5, 0.5],
        description="Sizes of the hidden layers, as parts of the embedding's. Published: 256 and "
        "256 of 512.",
    )


class FusedFinetune(FinetuneRecipe):
    """Fine-tuning with low-rank adaptation and a context module (arXiv 2502.17481)."""

    width: int = Field(
        256, ge=1, description="Size of the two hidden layers after the context. Published: 256."
    )
    dropout: float = Field(
        0.5, ge=0, lt=1, description="Dropout after each of these layers. Published: 0.5."
    )
    passes: int = Field(4, ge=1, description="Passes over the windows. Published: 30.")
    batch_size: int = Field(16, ge=1, description="Windows per batch. Published: 32.")
    learning_rate: float = Field(
        5e-4, gt=0, description="AdamW's peak learning rate. Published: 2.5e-4."
    )
    gradient_clip: float = Field(
        2.0, ge=0, description="Largest gradient norm; 0 switches clipping off. Published: 2."
    )
    accumulate: int = Field(
        1,
        ge=1,
        description="Batches whose gradients are added up for one optimiser step. Published: 4.",
    )
    lora: TuningLora = TuningLora()


class SynthSleepNet(FusionRecipe):
    """SynthSleepNet: which channels are fused, how, and what is asked of the embedding."""

    channels: list[Channel] = Field(
        default=["EEG_C4", "EOG_L", "EMG_CHIN", "ECG"],
        description="Channels to fuse, of any modalities that `unimodal.channels` trains encoders "
        "for; the model is called `all`. None (`[]`) and no `others`: no SynthSleepNet.",
    )
    others: dict[str, list[Channel]] = Field(
        default={},
        description="Further models on other channels, by a name of yours, such as "
        "`head: [EEG_C4, EOG_L]`.",
    )
    methods: list[HeadName | FusedName] = Field(
        default=["linear"],
        description="Heads on the frozen embedding, named as in `heads.names`, and fine-tunings, "
        "`lora-<context module>`. Published: `linear` and `lora-mamba2`.",
    )
    tasks: list[TaskName] = Field(
        default=["staging", "apnea", "hypopnea"],
        description=f"What they are asked for: {TASK_CHOICES}.",
    )
    linear: DeepLinear = DeepLinear()
    finetune: FusedFinetune = FusedFinetune()

    @field_validator("channels")
    @classmethod
    def _once(cls, value: list[Channel]) -> list[Channel]:
        if len(set(value)) != len(value):
            raise ValueError(f"a channel is named twice: {', '.join(value)}")
        return value

    @field_validator("others")
    @classmethod
    def _whole(cls, value: dict[str, list[Channel]]) -> dict[str, list[Channel]]:
        for name, channels in value.items():
            if name == ALL or not (name.isascii() and name.isalnum() and name.islower()):
                raise ValueError(
                    f"'{name}': wanted lower-case letters and digits, and not '{ALL}', which are "
                    "the `channels`"
                )
            if not channels or len(set(channels)) != len(channels):
                raise ValueError(
                    f"'{name}': wanted at least one channel, and each once, found "
                    f"{', '.join(channels) or 'none'}"
                )
        return value

    @property
    def fusions(self) -> dict[str, list[Channel]]:
        """The channels of each model, by its name."""
        return {**({ALL: self.channels} if self.channels else {}), **self.others}

    @property
    def recipe(self) -> FusionRecipe:
        """What a training needs of the section."""
        return FusionRecipe(**{name: getattr(self, name) for name in FusionRecipe.model_fields})

    @field_validator("methods", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        """Say it once: pydantic would tell for each kind of method that it is none of that kind."""
        contexts = get_args(ContextName)
        known = {"linear", "knn", *contexts, *(f"{LORA}-{name}" for name in contexts)}
        for name in value if isinstance(value, list) else ():
            if name not in known:
                raise ValueError(
                    f"'{name}' is no method. Wanted: linear, knn, a context module "
                    f"({', '.join(contexts)}), or {LORA}- and a context module"
                )
        return value


class FuseSlice(Section):
    """What one fuse job needs."""

    name: str
    channels: list[Channel]
    sampling_rate: int
    recipe: FusionRecipe


class FusedFinetuneSlice(Section):
    """What one finetune_fused job needs."""

    name: str
    task: TaskName
    context: ContextName
    recipe: FusedFinetune


class AblateSlice(Section):
    """What one ablate job needs."""

    batch_size: int = Field(256, ge=1, description="Epochs per forward pass.")
