"""A sheet of annotated pictures: every true box with what it is of, to see at a glance whether they fit."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from groundling.data.sample import Box
from groundling.draw import ink
from groundling.pictures.images import open_image

CELL, GAP, LINE = 300, 16, 18  # pixels
COLUMNS = 4
MOST = 6  # boxes of a picture that are named below it


def annotated_sheet(cells: Sequence[tuple[Path, Sequence[tuple[str, Box]]]]) -> Image.Image:
    """Pictures with their boxes (xyxy in pixels of the picture); ValueError for none."""
    if not cells:
        raise ValueError("there is no picture with a box to draw")
    columns, rows = min(COLUMNS, len(cells)), -(-len(cells) // COLUMNS)
    high = CELL + LINE * (MOST + 1)
    sheet = Image.new("RGB", (columns * (CELL + GAP) + GAP, rows * (high + GAP) + GAP), ink.PAPER)
    for index, (image, boxes) in enumerate(cells):
        row, column = divmod(index, COLUMNS)
        _draw(sheet, GAP + column * (CELL + GAP), GAP + row * (high + GAP), image, boxes)
    return sheet


def _draw(sheet: Image.Image, left: int, top: int, image: Path, boxes: Sequence[tuple[str, Box]]) -> None:
    picture = open_image(image)
    scale = CELL / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    sheet.paste(picture.resize(size, Image.Resampling.BILINEAR), (left, top))
    draw, letters = ImageDraw.Draw(sheet), ink.font(LINE - 5)
    for number, (name, (x1, y1, x2, y2)) in enumerate(boxes):
        colour = ink.BOXES[number % len(ink.BOXES)]
        corners = [left + x1 * scale, top + y1 * scale, left + x2 * scale, top + y2 * scale]
        draw.rectangle(corners, outline=colour, width=3)
        if number < MOST:
            below = top + CELL + LINE * number + 4
            draw.rectangle([left, below + 3, left + 9, below + 12], fill=colour)
            (words,) = ink.wrapped(name, LINE - 5, CELL - 16, 1) or [""]
            draw.text((left + 15, below), words, fill=ink.INK, font=letters)
    rest = f"{image.name}, {len(boxes)} boxes" if len(boxes) != 1 else image.name
    below = top + CELL + LINE * min(len(boxes), MOST) + 4
    draw.text((left, below), ink.wrapped(rest, LINE - 5, CELL, 1)[0], fill=ink.QUIET, font=letters)
