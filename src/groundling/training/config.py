"""What a training run is, as frozen values that are written beside its weights."""

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

NotNegative = Annotated[float, Field(ge=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(_Frozen):
    """Which expressions to learn from. `path` may differ between machines, the rest may not.

    An mdetr learns from captions: of several datasets, separated by commas as their splits are.
    """

    path: Path
    dataset: str
    split: str = "train"
    things: bool = False  # also give all annotated objects, for detection pre-training
    # lads and transvg draw a view per expression; detr one per image, of all its objects
    augment: Literal["none", "mirror", "lads", "transvg", "detr"] = "mirror"
    held_out: float = Field(0.0, ge=0, lt=1)  # share of the images to measure on, where no split is for that
    repeat: bool = False  # where a batch holds more images than there are, show each several times
    cache_gib: float = Field(4.0, ge=0)  # decoded images kept in memory
    # Of a model that learns from phrases: phrases of other pictures that join those of each image, the share
    # of expressions made from objects, and the folder for what the frozen backbone says of each picture.
    absent: int = Field(0, ge=0)
    made: float = Field(0.0, ge=0, le=1)
    features: Path | None = None


class TrainConfig(_Frozen):
    """One run, of either `steps` (of the optimiser) or `epochs`.

    An epoch shows every image once; where `data.augment` draws a view per expression, every expression once;
    where `data.repeat` fills a batch, each several times.
    """

    model: dict[str, Any]
    data: DataConfig
    loss: dict[str, Any] = {}  # options of the objective, such as GroundingLoss
    seed: int = 0
    steps: int | None = Field(None, gt=0)
    epochs: int | None = Field(None, gt=0)
    images_per_batch: int = Field(32, gt=0)  # views, of all processes and micro-batches together
    expressions_per_image: int = Field(1, gt=0)
    # Micro-batches a batch is computed in. Of one of them (of all processes), and not of the whole batch, are
    # mutual information's p(g), the budget's share, and the number of boxes that set losses are divided by.
    accumulate: int = Field(1, gt=0)
    lr: NotNegative = 1e-4
    lr_groups: dict[str, NotNegative] = {}  # module prefix -> rate; 0 freezes
    weight_decay: NotNegative = 1e-4
    no_decay: tuple[str, ...] = ()  # module prefixes without weight decay
    decay_vectors: bool = True  # norms and biases decay too (DETR's and TransVG's habit)
    schedule: Literal["constant", "step", "cosine"] = "step"
    warmup: int = Field(0, ge=0)  # steps; a quarter of a run that has no more
    drops: tuple[int, ...] = ()  # ×0.1 at each, in the unit of the length (steps or epochs)
    lr_floor: float = Field(0.0, ge=0, le=1)  # where the cosine ends, as a share
    clip_norm: float | None = Field(0.15, gt=0)  # None does not clip
    ema: float | None = Field(None, gt=0, lt=1)  # decay of the moving average that is evaluated and published
    autocast: Literal["none", "bf16", "fp16"] = "none"
    half: bool = False  # the published weights are stored in half precision
    freeze_norm: bool = False
    channels_last: bool = False
    compile: bool = False
    init: str | None = None  # packaged model or checkpoint folder to begin with, where none is given
    needs_init: bool = False  # this run makes no sense without weights to begin with
    backbone: str | None = None  # published ResNet or DETR weights to begin with
    detr: str | None = None  # a published DETR instead: a TransVG takes its encoder too
    text: str | None = None  # a published BERT
    download: bool = False  # these may be hub ids
    tokenizer: Path | None = None  # else the one of the initial weights, else trained on the expressions
    fresh: tuple[str, ...] = ()  # prefixes that initial weights need not have
    discard: tuple[str, ...] = ()  # prefixes of initial weights that are not wanted
    new_words: int = Field(0, ge=0)  # so many words of the data may join the vocabulary of initial weights
    longest: int = Field(0, ge=0, le=512)  # tokens up to which longer expressions raise the token limit
    # Measurements in a row that may be no better before the run ends; the best one's weights are published.
    patience: int | None = Field(None, gt=0)
    workers: int = Field(1, ge=0)
    device: str = "auto"
    checkpoint_every: int = Field(500, gt=0)
    keep_last: int = Field(2, gt=0)
    log_every: int = Field(20, gt=0)
    tensorboard: bool = True  # beside log.jsonl, where it is installed
    evaluate_every: int | None = Field(None, gt=0)

    @field_validator("model", mode="before")
    @classmethod
    def _plain(cls, model: object) -> object:
        return model.model_dump(mode="json") if isinstance(model, BaseModel) else model

    @model_validator(mode="after")
    def _one_length(self) -> "TrainConfig":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give steps or epochs, and not both")
        if self.images_per_batch % self.accumulate:
            raise ValueError(
                f"images_per_batch must be a multiple of accumulate, given {self.images_per_batch} and "
                f"{self.accumulate}"
            )
        if self.data.augment in ("lads", "transvg") and (self.expressions_per_image > 1 or self.data.things):
            raise ValueError(
                f"augment '{self.data.augment}' draws a view per expression: one each, and no things"
            )
        return self

    def length(self, steps_per_epoch: int) -> int:
        """All steps of the run."""
        return self.steps if self.steps is not None else (self.epochs or 0) * steps_per_epoch

    def warmup_of(self, steps: int) -> int:
        """The steps of the warm-up: those configured, or a quarter of a run that has no more than these."""
        return self.warmup if self.warmup < steps else steps // 4


class Run(NamedTuple):
    """A named training: what to minimise and how long."""

    name: str
    config: TrainConfig
    objective: str  # a name in groundling.losses.OBJECTIVES
