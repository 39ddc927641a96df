"""What an MDETR answers, on its image and below it: phrases in colours, a question's answer, a mask."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from groundling.draw import caption, ink
from groundling.draw.caption import Mark
from groundling.draw.hatching import hatched, standing_out
from groundling.draw.labels import draw_boxes, enlarged, fitting, letter_size
from groundling.pictures.images import ImageSource
from groundling.pictures.masks import decode
from groundling.results import Answer, CaptionGrounding, Detection, Segmentation


def draw_phrases(image: ImageSource, found: CaptionGrounding) -> Image.Image:
    """The image with the objects of each phrase in a colour, over the caption with its phrases on theirs.

    A phrase without objects is framed in grey; where there are more phrases than colours, numbers tell them
    apart. A picture of less than 400 pixels is drawn larger. ValueError if it is not the grounding's image.
    """
    picture, scale = _ready(image, "phrases", found.width, found.height)
    marks = marks_of(found)
    objects = coloured(found, marks)
    draw_boxes(
        picture,
        scale,
        [each.box for each, _, _ in objects],
        [f"{number or ''} {each.score:.2f}".strip() for each, _, number in objects],
        colours=[colour for _, colour, _ in objects],
    )
    note = "framed in grey: nothing found" if any(mark.colour is None for mark in marks) else ""
    return _over(picture, found.text, marks, note=note)


def draw_answer(image: ImageSource, found: Answer) -> Image.Image:
    """The image with what the answer rests on, over the question and the answer with its confidence."""
    picture, scale = _ready(image, "evidence", found.width, found.height)
    colours = colours_of(found)
    draw_boxes(
        picture,
        scale,
        [each.box for each in found.evidence],
        [f"{each.label} {each.score:.2f}" for each in found.evidence],
        colours=[colours[each.label] for each in found.evidence],
    )
    kind = "" if found.about is None else f" · read as a question about {found.about}"
    return _over(picture, found.text, marks_in(found), found.answer, f"{found.confidence:.0%} sure{kind}")


def draw_mask(image: ImageSource, found: Segmentation) -> Image.Image:
    """The image with the pixels that the phrase means outlined and hatched, over the phrase in that colour.

    The colour is one that the picture does not have there.
    """
    picture, _ = _ready(image, "a mask", found.width, found.height)
    mask = decode(found.mask)
    colour = standing_out(picture, mask)
    picture = hatched(picture, mask, colour)
    area = found.mask.area / (found.width * found.height)
    mark = Mark((0, len(found.text)), colour if found.mask.area else None)
    note = f"{area:.1%} of the picture" if found.mask.area else "nothing found"
    return _over(picture, found.text, [mark], note=note)


def marks_of(found: CaptionGrounding) -> list[Mark]:
    """A mark for each phrase: colours in turn for those with objects; numbers too, if there are too few."""
    marks, colours = [], ink.PHRASES
    numbered = sum(bool(phrase.objects) for phrase in found) > len(colours)
    place = 0
    for phrase in found:
        colour = colours[place % len(colours)] if phrase.objects else None
        place += bool(phrase.objects)
        marks.append(Mark(phrase.span, colour, place if numbered and colour else None))
    return marks


def coloured(found: CaptionGrounding, marks: Sequence[Mark]) -> list[tuple[Detection, str, int | None]]:
    """The objects of all phrases, each with the colour and the number of its phrase's mark."""
    return [
        (each, mark.colour, mark.number)
        for phrase, mark in zip(found, marks, strict=True)
        if mark.colour is not None
        for each in phrase.objects
    ]


def colours_of(found: Answer) -> dict[str, str]:
    """A colour for each name of the evidence, in turn."""
    names = dict.fromkeys(each.label for each in found.evidence)
    return {name: ink.PHRASES[place % len(ink.PHRASES)] for place, name in enumerate(names)}


def marks_in(found: Answer) -> list[Mark]:
    """The names of the evidence as marks of the question, those that stand in it once: no other is sure."""
    places = {name: found.text.find(name) for name in colours_of(found) if found.text.count(name) == 1}
    return [Mark((at, at + len(name)), colours_of(found)[name]) for name, at in places.items()]


def _ready(image: ImageSource, what: str, width: int, height: int) -> tuple[Image.Image, int]:
    return enlarged(fitting(image, what, [(width, height)]))


def _over(
    picture: Image.Image, text: str, marks: Sequence[Mark], answer: str = "", note: str = ""
) -> Image.Image:
    """The picture over its words: the text with its marks, an answer in larger letters, and a grey note."""
    size = max(16, letter_size(picture.size))  # words below a picture have more room than labels on it
    large, small, pad = round(1.4 * size), round(0.85 * size), size
    width = max(picture.width, 24 * size)
    room = width - 2 * pad
    said = caption.lines(text, marks, size, room)
    answered = caption.lines(answer, [], large, room)
    noted = ink.wrapped(note, small, room, 3) if note else []
    rows = [caption.leading(size)] * len(said) + [caption.leading(large)] * len(answered)
    high = sum(rows) + round(1.4 * small) * len(noted) + round(1.7 * pad)
    drawn = Image.new("RGB", (width, picture.height + high), ink.PAPER)
    draw = ImageDraw.Draw(drawn)
    draw.rectangle((0, 0, width - 1, picture.height - 1), fill=ink.BESIDE)
    drawn.paste(picture, ((width - picture.width) // 2, 0))
    caption.write(draw, (pad, picture.height + pad), said, size)
    top = picture.height + pad + caption.leading(size) * len(said)
    caption.write(draw, (pad, top), answered, large)
    top += caption.leading(large) * len(answered)
    for row, line in enumerate(noted):
        ink.write(draw, (pad, top + row * round(1.4 * small)), line, small, ink.QUIET)
    return drawn
