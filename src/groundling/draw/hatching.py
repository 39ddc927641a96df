"""A mask on its picture: an outline and thin hatching, in a colour that what lies under it does not have."""

import numpy as np
from PIL import Image

from groundling.draw import ink
from groundling.draw.labels import letter_size
from groundling.pictures.masks import Mask as Pixels

STRIPES = 10  # pixels from one line of the hatching to the next, at least
SAMPLED = 4096  # pixels that choose a colour


def hatched(picture: Image.Image, mask: Pixels, colour: str) -> Image.Image:
    """The picture with a mask of its image, of any size, outlined and hatched; what it holds stays seen."""
    on = at_size(mask, picture.size)
    wide = max(1, round(letter_size(picture.size) / 9))
    edge = max(1, wide // 2)
    line = on & ~eroded(on, edge + wide)
    dark = (
        on & ~eroded(on, edge) & grown(eroded(on, edge + 1), edge + 1)
    )  # not of what is as thin as the line
    rows, columns = np.indices(on.shape)
    stripes = on & ((rows + columns) % max(STRIPES, 7 * wide) < edge)
    pixels, ink_rgb = np.array(picture), ink.rgb(colour)
    pixels[stripes | line], pixels[dark] = ink_rgb, 0
    return Image.fromarray(pixels)


def standing_out(picture: Image.Image, mask: Pixels) -> str:
    """The colour of `ink.MASKS` that is farthest from those of the picture under the mask and beside it.

    A tenth of these pixels may be nearer to it than the distance that counts.
    """
    on = at_size(mask, picture.size)
    around = grown(on, letter_size(picture.size) // 2)
    pixels = np.asarray(picture)[around].astype(float)
    if not len(pixels):
        return ink.MASKS[0]
    pixels = pixels[:: -(-len(pixels) // SAMPLED)]
    apart = [np.percentile(distance(pixels, np.array(ink.rgb(each), float)), 10) for each in ink.MASKS]
    return ink.MASKS[int(np.argmax(apart))]


def distance(pixels: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """How far colours are apart for an eye, from 0 to about 765 (Riemersma's weights of red, green, blue)."""
    red = (pixels[..., 0] + colour[0]) / 2
    difference = (pixels - colour) ** 2
    weights = np.stack([2 + red / 256, np.full_like(red, 4.0), 2 + (255 - red) / 256], axis=-1)
    found: np.ndarray = np.sqrt((weights * difference).sum(axis=-1))
    return found


def at_size(mask: Pixels, size: tuple[int, int]) -> Pixels:
    """The mask for a picture drawn at another size (width, height): its own pixels, larger."""
    drawn: Pixels = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    return drawn


def eroded(mask: Pixels, steps: int) -> Pixels:
    """What is more than so many pixels inside a mask; what lies outside the picture counts as outside."""
    for _ in range(steps):
        wide = np.pad(mask, 1)
        mask = mask & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return mask


def grown(mask: Pixels, steps: int) -> Pixels:
    """What is in a mask or no more than so many pixels beside it."""
    for _ in range(steps):
        wide = np.pad(mask, 1)
        mask = mask | wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
    return mask
