"""How a system sees pictures and in which frame its boxes are: said once, by its configuration's `framing`.

    framing = model.config.framing               # Canvas or Resize
    seen = framing.see(picture)                  # one picture as pixels, and its Placement
    given = framing.input([seen, …])             # several, normalised, and what of them is no padding
    found = network(given.images, …, shown=given.shown)
    seen.placement.boxes(found.boxes_cxcywh01)   # pixels of the original picture

Everything that turns a picture into a network's input, or a network's boxes into pixels, is here: answers,
training, evaluation and exported files share it. Shapes: I pictures, H × W pixels of the network's input.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from groundling.pictures.boxes import clip, cxcywh_to_xyxy, xyxy_to_cxcywh

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LITE_MEAN = (127 / 255,) * 3  # EfficientNet-Lite reads (x - 127) / 128
LITE_STD = (128 / 255,) * 3
PADDING = (124, 116, 104)  # ImageNet's mean colour: close to zero once normalised
LONGEST = 8192  # pixels of a side that a network may be given
VANISHING = 0.01  # pixels: a box with a shorter side has no area that one can see

Frame = Literal["canvas", "image"]  # of what a network's boxes are shares
# What of a box counts: what lies in the picture, or all that the released code compares (`Placement.boxes`).
Clip = Literal["image", "released"]
Colours = tuple[tuple[float, float, float], tuple[float, float, float]]  # mean and deviation, in [0, 1]
Padding = Literal["colour", "zero"]  # PADDING before normalising, or 0 after it


@dataclass(frozen=True)
class Placement:
    """Where a picture of width x height lies in a network's input: at x * scale_x + left, y * scale_y + top.

    The input is `canvas_width` x `canvas_height` pixels, and the network's boxes are shares of `frame`: of
    all of this input, padding included, or of the picture alone.
    """

    scale_x: float
    scale_y: float
    left: int
    top: int
    width: int
    height: int
    canvas_width: int
    canvas_height: int
    frame: Frame = "canvas"

    @property
    def wide(self) -> int:
        """Pixels that the picture takes in the input, across."""
        return round(self.width * self.scale_x)

    @property
    def high(self) -> int:
        """Pixels that the picture takes in the input, down."""
        return round(self.height * self.scale_y)

    @property
    def part(self) -> tuple[slice, slice]:
        """Rows and columns of the input that show the picture."""
        return slice(self.top, self.top + self.high), slice(self.left, self.left + self.wide)

    def apply(self, boxes: Tensor) -> Tensor:
        """xyxy boxes (..., 4) in pixels of the picture -> pixels of the input."""
        scale, shift = self._affine(boxes)
        return (boxes.double() * scale + shift).to(boxes.dtype)

    def undo(self, boxes: Tensor) -> Tensor:
        """xyxy boxes (..., 4) in pixels of the input -> pixels of the picture; the inverse of apply()."""
        scale, shift = self._affine(boxes)
        return ((boxes.double() - shift) / scale).to(boxes.dtype)

    def pixels(self, boxes_cxcywh01: Tensor) -> Tensor:
        """A network's boxes (..., 4) -> xyxy in pixels of the picture, not clipped."""
        boxes = cxcywh_to_xyxy(boxes_cxcywh01)
        if self.frame == "image":
            return boxes * boxes.new_tensor((self.width, self.height) * 2)
        return self.undo(boxes * boxes.new_tensor((self.canvas_width, self.canvas_height) * 2))

    def boxes(self, boxes_cxcywh01: Tensor, clip: Clip = "image") -> Tensor:
        """The same as an answer gives them: within the picture, and each with an area (see `with_area`).

        "released": as the released code compares them, cut to the canvas (TransVG) or not at all (MDETR).
        """
        if clip == "image":
            return self.within(self.pixels(boxes_cxcywh01))
        if self.frame == "canvas":
            boxes_cxcywh01 = xyxy_to_cxcywh(cxcywh_to_xyxy(boxes_cxcywh01).clamp(0, 1))
        return self.pixels(boxes_cxcywh01)

    def within(self, boxes: Tensor) -> Tensor:
        """xyxy boxes (..., 4) in pixels, clipped to the picture, and each with an area (see `with_area`)."""
        return with_area(clip(boxes, self.width, self.height), self.width, self.height)

    def shares(self, boxes: Tensor) -> Tensor:
        """xyxy boxes (..., 4) in pixels of the picture -> cxcywh as the network says them."""
        if self.frame == "image":
            return xyxy_to_cxcywh(boxes) / boxes.new_tensor((self.width, self.height) * 2)
        return xyxy_to_cxcywh(self.apply(boxes)) / boxes.new_tensor(
            (self.canvas_width, self.canvas_height) * 2
        )

    def shown(self) -> Tensor:
        """Which pixels of the input show the picture, (H, W) bool; the rest is padding."""
        shown = torch.zeros(self.canvas_height, self.canvas_width, dtype=torch.bool)
        shown[self.part] = True
        return shown

    def _affine(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        # In double: with float32 a long picture on a small canvas loses a thousandth of a pixel on the way.
        scale = torch.tensor((self.scale_x, self.scale_y) * 2, dtype=torch.float64, device=boxes.device)
        return scale, torch.tensor((self.left, self.top) * 2, dtype=torch.float64, device=boxes.device)


def with_area(boxes: Tensor, width: int, height: int) -> Tensor:
    """xyxy boxes (..., 4) in a picture, of which a side that vanishes is one pixel long.

    A side vanishes below a hundredth of a pixel, where its two ends are printed as the same number. It
    happens where what is found lies in the padding beside a strip, of which a network sees a few rows.
    """
    corners = []
    for least, most, side in ((boxes[..., 0], boxes[..., 2], width), (boxes[..., 1], boxes[..., 3], height)):
        thin = most - least < VANISHING
        begin = ((least + most - 1) / 2).clamp(0, side - 1)
        corners.append((torch.where(thin, begin, least), torch.where(thin, begin + 1, most)))
    (x1, x2), (y1, y2) = corners
    return torch.stack((x1, y1, x2, y2), dim=-1)


@dataclass(frozen=True)
class Seen:
    """A picture as a network is given it: uint8 (3, H, W), and where it lies there."""

    pixels: Tensor
    placement: Placement

    def mirrored(self) -> "Seen":
        """The same input from right to left; shares of boxes have 1 - x as their centre then."""
        place = self.placement
        left = place.canvas_width - place.left - place.wide
        return Seen(self.pixels.flip(-1), replace(place, left=left))


@dataclass(frozen=True)
class Pictures:
    """Pictures of one batch: uint8 (I, 3, H, W), and which pixels are no padding (I, H, W)."""

    pixels: Tensor
    shown: Tensor

    @property
    def sides(self) -> tuple[int, int]:
        """(height, width) of the input."""
        return self.pixels.shape[2], self.pixels.shape[3]


def together(seen: Sequence[Seen]) -> Pictures:
    """A batch of pictures, each from the first pixel on, padded at the right and at the bottom."""
    height = max(each.placement.canvas_height for each in seen)
    width = max(each.placement.canvas_width for each in seen)
    pixels = seen[0].pixels.new_zeros(len(seen), 3, height, width)
    shown = torch.zeros(len(seen), height, width, dtype=torch.bool)
    for row, each in enumerate(seen):
        place = each.placement
        pixels[row, :, : place.canvas_height, : place.canvas_width] = each.pixels
        shown[row, : place.canvas_height, : place.canvas_width] = place.shown()
    return Pictures(pixels, shown)


@dataclass(frozen=True)
class Input:
    """What a network reads: normalised pictures (I, 3, H, W), and which pixels are no padding (I, H, W)."""

    images: Tensor
    shown: Tensor

    @property
    def sides(self) -> tuple[int, int]:
        """(height, width) of the input."""
        return self.images.shape[2], self.images.shape[3]


class Framing(BaseModel):
    """How a system sees pictures, and of what its boxes are shares."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    @abstractmethod
    def sides(self) -> tuple[int, int]:
        """(height, width) of the input for an ordinary picture, of 4:3: what costs are said for."""

    @property
    @abstractmethod
    def padding(self) -> Padding:
        """What the network is given where there is no picture."""

    @property
    def colours(self) -> Colours:
        """The mean and the standard deviation that are taken out of each channel."""
        return IMAGENET_MEAN, IMAGENET_STD

    @abstractmethod
    def see(self, picture: Image.Image) -> Seen:
        """A picture as the network is given it."""

    def place(self, width: int, height: int) -> Placement:
        """Where a picture of this size lies in the input."""
        return self.see(Image.new("RGB", (width, height))).placement

    @abstractmethod
    def __str__(self) -> str:
        """What a person reads: "160 x 160 pixels, centred"."""

    def input(self, seen: Sequence[Seen], device: torch.device | str = "cpu") -> Input:
        """Pictures as the network reads them together, on its device."""
        batch = together(seen)
        shown = batch.shown.to(device)
        return Input(self.normalise(batch.pixels.to(device), shown), shown)

    def normalise(self, pixels: Tensor, shown: Tensor | None = None) -> Tensor:
        """uint8 (..., 3, H, W) -> float32 as the network reads it; shown (..., H, W), None: everything."""
        found = normalise(pixels, self.colours)
        return found if self.padding == "colour" or shown is None else found * shown.unsqueeze(-3)


class Canvas(Framing):
    """Scaled so that the long side is `size`, in the centre of a square; boxes are shares of the square."""

    size: int = Field(gt=0, le=LONGEST)
    beside: Padding = "colour"

    @property
    def sides(self) -> tuple[int, int]:
        """The square's."""
        return self.size, self.size

    @property
    def padding(self) -> Padding:
        """What lies beside the picture."""
        return self.beside

    def see(self, picture: Image.Image) -> Seen:
        """The picture on its canvas."""
        return letterbox(picture, self.size)

    def __str__(self) -> str:
        return f"{self.size} x {self.size} pixels, pictures in the centre"


class Square(Framing):
    """Stretched to a square, whatever its shape; boxes are shares of the picture.

    No cell of the network looks at padding: of a picture of 3:2 a canvas shows a third less.
    """

    size: int = Field(gt=0, le=LONGEST)

    @property
    def sides(self) -> tuple[int, int]:
        """The square's."""
        return self.size, self.size

    @property
    def padding(self) -> Padding:
        """There is none."""
        return "zero"

    @property
    def colours(self) -> Colours:
        """Those of EfficientNet-Lite."""
        return LITE_MEAN, LITE_STD

    def see(self, picture: Image.Image) -> Seen:
        """The picture in the square."""
        return _at_first_pixel(picture, self.sides, self.sides)

    def place(self, width: int, height: int) -> Placement:
        """Where a picture of this size lies, without the picture."""
        size = self.size
        return Placement(size / width, size / height, 0, 0, width, height, size, size, "image")

    def __str__(self) -> str:
        return f"{self.size} x {self.size} pixels, pictures stretched to it"


class Resize(Framing):
    """Scaled by DETR's rule, at the first pixel and without padding; boxes are shares of the picture.

    The short side becomes `short_side` pixels, or fewer where the long one would pass `long_side`.
    """

    short_side: int = Field(800, gt=0, le=LONGEST)
    long_side: int = Field(1333, gt=0, le=LONGEST)

    @model_validator(mode="after")
    def _ordered(self) -> "Resize":
        check_sides(self.short_side, self.long_side)
        return self

    @property
    def sides(self) -> tuple[int, int]:
        """Those of a picture of 4:3, lying."""
        width, height = resized(4000, 3000, self.short_side, self.long_side)
        return height, width

    @property
    def padding(self) -> Padding:
        """Beside pictures that are smaller than others of their batch."""
        return "zero"

    def see(self, picture: Image.Image) -> Seen:
        """The picture in the size in which it is seen."""
        wide, high = resized(*picture.size, self.short_side, self.long_side)
        return _at_first_pixel(picture, (wide, high), (wide, high))

    def __str__(self) -> str:
        return f"short side {self.short_side} pixels, long side at most {self.long_side}"


class Corner(Framing):
    """Scaled to the largest size that an input of height x width takes, at its first pixel; for networks that
    were exported for one size. Boxes are shares of the picture, what is right of it and below it is padding.
    """

    height: int = Field(gt=0, le=LONGEST)
    width: int = Field(gt=0, le=LONGEST)

    @property
    def sides(self) -> tuple[int, int]:
        """The only ones."""
        return self.height, self.width

    @property
    def padding(self) -> Padding:
        """As Resize pads batches."""
        return "zero"

    def see(self, picture: Image.Image) -> Seen:
        """The picture in the upper left; it fills the input where that was made for its shape."""
        scale = min(self.width / picture.width, self.height / picture.height)
        sides = [
            # a pixel that int() took of a side on export is no padding
            most if most - side * scale < 1 else max(1, int(side * scale))
            for side, most in zip(picture.size, (self.width, self.height), strict=True)
        ]
        return _at_first_pixel(picture, (sides[0], sides[1]), (self.width, self.height))

    def __str__(self) -> str:
        return f"{self.width} x {self.height} pixels, pictures at the upper left"


def check_sides(short_side: int, long_side: int) -> None:
    """ValueError unless an image can be scaled to these sides."""
    if not (1 <= short_side <= LONGEST and 1 <= long_side <= LONGEST):
        raise ValueError(f"sides have 1 to {LONGEST} pixels, given {short_side} and {long_side}")
    if short_side > long_side:
        raise ValueError(f"short_side {short_side} is longer than long_side {long_side}")


def letterbox(image: Image.Image, size: int) -> Seen:
    """The image scaled so that its long side is `size`, centred on a canvas of the padding colour."""
    width, height = image.size
    scale = size / max(width, height)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size - wide) // 2, (size - high) // 2
    scaled = image.resize((wide, high), Image.Resampling.BILINEAR)
    return on_canvas(scaled, size, left, top, (wide / width, high / height), image.size)


def on_canvas(
    image: Image.Image,
    size: int,
    left: int,
    top: int,
    scale: tuple[float, float] = (1.0, 1.0),
    original: tuple[int, int] | None = None,
) -> Seen:
    """The image as it is on a square canvas; scale and `original` size where it was resized before."""
    canvas = Image.new("RGB", (size, size), PADDING)
    canvas.paste(image, (left, top))
    width, height = original or image.size
    return Seen(to_tensor(canvas), Placement(*scale, left, top, width, height, size, size))


def resized(width: int, height: int, short_side: int, long_side: int) -> tuple[int, int]:
    """(width, height) after DETR's resize: the short side rounded, the other derived from it by int().

    A strip so thin that its short side would vanish keeps one pixel, and its long side is `long_side`.
    """
    least, most = min(width, height), max(width, height)
    short = short_side
    if most / least * short > long_side:
        short = round(long_side * least / most)
    long = int(short * most / least) if short else long_side
    short = max(1, short)
    return (short, long) if width < height else (long, short)


def scaled(image: Image.Image, short_side: int, long_side: int) -> Image.Image:
    """The image in the size that `resized` gives."""
    return image.resize(resized(*image.size, short_side, long_side), Image.Resampling.BILINEAR)


def _at_first_pixel(picture: Image.Image, sides: tuple[int, int], canvas: tuple[int, int]) -> Seen:
    """Resized to `sides` in the upper left of a canvas (both width first) of zeros."""
    (wide, high), (canvas_width, canvas_height) = sides, canvas
    pixels = to_tensor(picture.resize(sides, Image.Resampling.BILINEAR))
    if sides != canvas:
        small, pixels = pixels, pixels.new_zeros(3, canvas_height, canvas_width)
        pixels[:, :high, :wide] = small
    width, height = picture.size
    scale = wide / width, high / height
    return Seen(pixels, Placement(*scale, 0, 0, width, height, canvas_width, canvas_height, "image"))


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB image as a uint8 tensor (3, H, W)."""
    return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1).contiguous()


def normalise(images: Tensor, colours: Colours = (IMAGENET_MEAN, IMAGENET_STD)) -> Tensor:
    """uint8 (..., 3, H, W) -> float32 with a mean and a standard deviation taken out."""
    mean, std = (torch.tensor(each, device=images.device).view(3, 1, 1) for each in colours)
    return (images.float() / 255 - mean) / std
