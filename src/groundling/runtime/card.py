"""What an exported file says about itself."""

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from groundling.pictures.images import IMAGENET_MEAN, IMAGENET_STD, PADDING
from groundling.results import Cost
from groundling.selection import Selection

KEY = "groundling"  # of the block in an ONNX file's metadata and OpenVINO's rt_info


class Card(BaseModel):
    """The metadata block of an exported file: enough to run it with any runtime.

    Input `image` is the picture scaled so that its long side is `size`, centred on a canvas of that size
    filled with `padding`: uint8 RGB (1, 3, size, size) where `raw`, else float32 with (x/255 − mean)/std.
    Without an `expression` there is an input `ids`, int64 (1, tokens), of the `tokenizer` (its JSON).
    Outputs: `box` (1, 4), xyxy in pixels of the canvas, and, where `scored`, `score` (1,) in [0, 1].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(1, ge=1, le=1)
    groundling: str
    model: str
    sha256: str | None  # of the weights
    expression: str | None
    selection: str
    size: int = Field(gt=0, le=4096)
    raw: bool
    scored: bool
    macs: dict[str, int]
    full_macs: int = Field(gt=0)
    tokens: int = Field(ge=3, le=512)  # that the MACs are for
    tokenizer: str | None = None
    limit: int | None = Field(None, ge=3, le=512)
    box: Literal["xyxy, pixels of the canvas"] = "xyxy, pixels of the canvas"
    channels: Literal["RGB"] = "RGB"
    resize: Literal["bilinear, antialiased"] = "bilinear, antialiased"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    padding: tuple[int, int, int] = PADDING

    @model_validator(mode="after")
    def _whole(self) -> "Card":
        Selection.parse(self.selection)
        if (self.expression is None) != (self.tokenizer is not None) or (self.tokenizer is None) != (
            self.limit is None
        ):
            raise ValueError("a file holds either an expression, or a tokenizer and its limit")
        if (self.mean, self.std, self.padding) != (IMAGENET_MEAN, IMAGENET_STD, PADDING):
            raise ValueError("pictures are normalised and padded in another way than this version does")
        Cost(self.macs, self.full_macs)
        return self

    @property
    def cost(self) -> Cost:
        """What one answer costs, beside the supernet it was cut from."""
        return Cost(self.macs, self.full_macs)

    def text(self) -> str:
        """The block as it stands in the file."""
        return self.model_dump_json()

    @classmethod
    def read(cls, text: str, name: str) -> "Card":
        """The card in a file called `name`; ValueError where it is none of ours."""
        try:
            return cls.model_validate(json.loads(text))
        except (ValidationError, ValueError, RecursionError) as error:
            raise ValueError(f"{name}: its '{KEY}' block is not one that this version writes") from error
