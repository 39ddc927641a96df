"""An answer in a notebook: its picture, small, over a table of its boxes. Every text is escaped."""

import base64
import io
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

from groundling.results.found import Found

if TYPE_CHECKING:
    from PIL import Image

SIDE = 480  # pixels of the longer side of the picture
ROWS = 20  # of the table; the rest is counted
SOFT = "color: gray"


def page(heading: str, found: Sequence[Found], footing: str, draw: "Callable[[], Image.Image] | None") -> str:
    """One <div>. Without `draw`, or where the picture is no longer at hand, the table alone."""
    parts = [f"<p><b>{_text(heading)}</b></p>"]
    if draw is not None:
        try:
            parts.append(_image(draw()))
        except (ValueError, OSError) as error:
            parts.append(f'<p style="{SOFT}">{_text(str(error))}</p>')
    parts += [_table(found), f'<p style="{SOFT}">{_text(footing)}</p>']
    return f"<div>{''.join(parts)}</div>"


def _image(picture: "Image.Image") -> str:
    """A picture that is part of the page."""
    picture = picture.convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    data = io.BytesIO()
    picture.save(data, "PNG")
    return f'<img src="data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}" alt="">'


def _table(found: Sequence[Found]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("", "x1", "y1", "x2", "y2", "score"))
    rows = []
    for each in found[:ROWS]:
        score = "" if each.score is None else f"{each.score:.2f}"
        cells = [_text(each.label), *(f"{value:.1f}" for value in each.box), score]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    more = f"<p>and {len(found) - ROWS} more</p>" if len(found) > ROWS else ""
    if not found:
        return "<p>nothing found</p>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{more}"


def _text(text: str) -> str:
    return escape(text, quote=True)
