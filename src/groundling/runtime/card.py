"""What an exported file says about itself."""

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from groundling.pictures.placement import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    LONGEST,
    PADDING,
    Canvas,
    Corner,
    Framing,
    Square,
)
from groundling.results import Cost
from groundling.selection import Selection

KEY = "groundling"  # of the block in an ONNX file's metadata and OpenVINO's rt_info
Place = Literal["centre", "corner", "stretched"]
Box = Literal["xyxy, pixels of the canvas", "xyxy, shares of the picture"]
BOXES: dict[Place, Box] = {
    "centre": "xyxy, pixels of the canvas",
    "corner": "xyxy, shares of the picture",
    "stretched": "xyxy, shares of the picture",
}


class Card(BaseModel):
    """The metadata block of an exported file: enough to run it with any runtime.

    Input `image` (1, 3, height, width) is the picture scaled to the largest size that fits in there, in the
    centre or at the upper left as `place` says, or stretched to all of it: uint8 RGB where `raw`, else
    float32 with (x/255 − mean)/std.
    What lies beside it has the colour `padding`, or, where that is None, is 0 after normalising.
    `masked`: there is an input `shown`, bool (1, height, width), which is true where the picture is.
    Without an `expression` there is an input `ids`, int64 (1, tokens), of the `tokenizer` (its JSON).
    Outputs: `box` (1, 4), in the units that `box` says, where `scored`, `score` (1,) in [0, 1], and where it
    `tells`, `present` (1,): how sure it is, in [0, 1], that such a thing is in the picture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(2, ge=2, le=2)
    groundling: str
    model: str
    sha256: str | None  # of the weights
    expression: str | None
    selection: str
    height: int = Field(gt=0, le=LONGEST)
    width: int = Field(gt=0, le=LONGEST)
    place: Place
    masked: bool
    raw: bool
    scored: bool
    tells: bool = False
    macs: dict[str, int]
    full_macs: int = Field(gt=0)
    tokens: int = Field(ge=3, le=512)  # that the MACs are for
    tokenizer: str | None = None
    limit: int | None = Field(None, ge=3, le=512)
    box: Box
    channels: Literal["RGB"] = "RGB"
    resize: Literal["bilinear, antialiased"] = "bilinear, antialiased"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    padding: tuple[int, int, int] | None

    @model_validator(mode="after")
    def _whole(self) -> "Card":
        Selection.parse(self.selection)
        if (self.expression is None) != (self.tokenizer is not None) or (self.tokenizer is None) != (
            self.limit is None
        ):
            raise ValueError("a file holds either an expression, or a tokenizer and its limit")
        if (self.mean, self.std) != self.framing.colours or self.padding not in (PADDING, None):
            raise ValueError("pictures are normalised and padded in another way than this version does")
        if self.place != "corner" and self.height != self.width:
            raise ValueError("pictures lie in the centre of a square, or are stretched to one")
        if self.box != BOXES[self.place]:
            raise ValueError("boxes are in other units than those of pictures that lie there")
        Cost(self.macs, self.full_macs)
        return self

    @property
    def framing(self) -> Framing:
        """How the file's network sees pictures."""
        if self.place == "corner":
            return Corner(height=self.height, width=self.width)
        if self.place == "stretched":
            return Square(size=self.width)
        return Canvas(size=self.width, beside="zero" if self.padding is None else "colour")

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
            raise ValueError(
                f"{name}: its '{KEY}' block was written by another version, or is damaged"
            ) from error
