"""`groundling ground` for folders, patterns and videos: JSON Lines, as the answers come."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from groundling.cli import console

if TYPE_CHECKING:
    from groundling.pictures.images import ImageSource
    from groundling.results import Grounding
    from groundling.runtime.streams import Stream


def run(
    stream: "Stream",
    expressions: Sequence[str],
    ground: Callable[["ImageSource", Sequence[str]], "list[Grounding]"],
    out: Path | None,
    made_by: dict[str, object],
) -> None:
    """Ground the expressions in every picture; lines go to stdout, or to a file that can be taken up again.

    A picture or video that cannot be read is one line on stderr. ValueError where none could be.
    """
    from groundling.runtime.streams import Answers, StreamError, answers

    if out is not None and out.suffix != ".jsonl":
        raise ValueError(
            f"answers about many pictures are lines of JSON: give a file *.jsonl, not {out.name!r}"
        )
    file = None if out is None else Answers(out, made_by)
    answered = skipped = 0
    try:
        found = answers(stream, expressions, ground, file.done if file else ())
        for each in console.followed(found, len(stream), "grounding"):
            if isinstance(each, StreamError):
                skipped += 1
                console.complain(f"skipped: {each}")
                continue
            answered += 1
            for grounding in each:
                if file is not None:
                    file.add(grounding)
                else:
                    console.print_json(grounding.as_dict())
    finally:
        if file is not None:
            file.close()
    if skipped:
        console.complain(f"{skipped} skipped, {answered} answered")
    if not answered:
        raise ValueError("none of the pictures could be read")
    if out is not None:
        print(out)
