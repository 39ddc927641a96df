"""`groundling benchmark`: what words leave out, on the clock."""

import random
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import console

if TYPE_CHECKING:
    from groundling.ask.grounder import Grounder
    from groundling.benchmark import Benchmark, Request, Row
    from groundling.pictures.images import ImageSource

COLUMNS = ("", "ms", "half within", "p95", "images/s", "MACs", "realised", "peak MB")
NOTES = """ms: median time of a request, from words to box; half of all times lie within the two beside it.
first: nothing of the network is cut yet. cold: new words, after use. warm: words that come again.
MACs: what ran, as a share of the full network.
realised: 1.00 where every MAC that is left out saves its time; it is the full network's ms, run in the same
way, ÷ ms × MACs.
peak MB: memory that a request needs above what is held before it."""
BUSY = 0.1  # of the time with other programs, from which the table says so
SCENES, DESCRIBED = 32, 200  # scenes that are shown, and those whose expressions are asked


def benchmark(
    model: Annotated[str, typer.Argument(help="A packaged model, a checkpoint folder, or a preset.")],
    images: Annotated[
        Path | None, typer.Option(help="A folder of pictures, street scenes without it.")
    ] = None,
    expressions: Annotated[
        Path | None,
        typer.Option(help="A text file with one expression a line, those of street scenes without it."),
    ] = None,
    rounds: Annotated[int, typer.Option(help="How many times each way of answering is timed.")] = 20,
    threads: Annotated[
        int, typer.Option(help="Threads that PyTorch and the runtime use; 0 leaves the number to them.")
    ] = 0,
    runtime: Annotated[
        str,
        typer.Option(
            help="What compiles the compiled rows: auto, openvino, onnx or compiled; eager leaves them out."
        ),
    ] = "auto",
    plot: Annotated[
        Path | None, typer.Option(help="Draw time against MACs of 50 subnets as a picture (*.png).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one document on the last line.")] = False,
) -> None:
    """Time every way of answering beside the full network.

    Ways take turns, so that whatever else the machine does slows all of them.

    Presets have random weights: their Selections are drawn at the LADS paper's rates.
    """
    import torch

    from groundling.analyze.canvas import need_extra
    from groundling.benchmark import benchmark as run
    from groundling.benchmark import curve
    from groundling.benchmark import plot as draw
    from groundling.files import check_place, write

    if threads < 0 or rounds < 1:
        raise ValueError(f"--threads must be 0 or more and --rounds 1 or more, given {threads} and {rounds}")
    if plot is not None:
        if plot.suffix != ".png":
            raise ValueError(f"the plot is saved as a picture: give a file *.png, not {plot.name!r}")
        need_extra()
        read = [given for given in (images, expressions, model) if given is not None]
        check_place(plot, read)
    if threads:
        torch.set_num_threads(threads)
    requests = read_requests(images, expressions)
    grounder, drawn = read_model(model, [words for _, words in requests])
    with console.timed("measuring") as progress:
        found = run(
            grounder,
            requests,
            name=Path(model).name,
            rounds=rounds,
            runtime=runtime,  # type: ignore[arg-type]  # an unknown one is refused by name
            drawn=drawn,
            before=described(2024)[: 16 if drawn else None] if expressions is None else (),
            progress=progress,
        )
    if not json:
        _print(found)
    if plot is not None:
        print(write(plot, draw(*curve(grounder, requests[0]), found.model)))
    if json:
        console.print_json(found.as_dict())


def read_requests(images: Path | None, expressions: Path | None) -> "list[Request]":
    """Pictures and lines of a file, paired in turn; those of street scenes where one is not given."""
    from groundling.data.street import jpeg, scene
    from groundling.runtime.streams import Picture, Stream
    from groundling.words.text_files import read_expressions

    shown: list[ImageSource] = [jpeg(scene(2023, index)) for index in range(SCENES)]
    words = described(2023)
    if images is not None:
        first = list(islice(Stream(str(images)), SCENES))
        shown = [each.source for each in first if isinstance(each, Picture)]
        if not shown:
            raise ValueError(f"no picture in {images}: {first[0]}")
    if expressions is not None:
        words = read_expressions(expressions)
    return [(shown[i % len(shown)], words[i % len(words)]) for i in range(max(len(shown), len(words)))]


def described(seed: int) -> list[str]:
    """The expressions of street scenes, in an order that no scene rules."""
    from groundling.data.street import describe, scene

    found = [each.expression for index in range(DESCRIBED) for each in describe(scene(seed, index))]
    random.Random(seed).shuffle(found)
    return found


def read_model(name: str, words: list[str]) -> "tuple[Grounder, bool]":
    """The model, and whether its weights are random: then it reads these words and no others."""
    import torch

    from groundling import Grounder, checkpoint
    from groundling.ask.grounder import load_grounder
    from groundling.models import PRESETS, build
    from groundling.words.reading import tokenizer_for

    if name in checkpoint.packaged() or Path(name).exists():
        return load_grounder(name), False
    if name not in PRESETS:
        packaged = ", ".join(checkpoint.packaged())
        raise ValueError(
            f"no model {name!r}: packaged are {packaged}; presets without weights are {', '.join(PRESETS)}; "
            "or give a checkpoint folder"
        )
    torch.manual_seed(0)
    model = build(PRESETS[name])
    text = model.config.text
    return Grounder(model, tokenizer_for(text).train(words, text.vocabulary, text.tokens)), True


def _print(found: "Benchmark") -> None:
    console.print_table(COLUMNS, map(_row, found.rows))
    print(NOTES)
    cold = sum(found.parts.values())
    parts = [(name, f"{ms:.2f}", console.percent(ms / cold)) for name, ms in found.parts.items()]
    console.print_table(("parts of a cold request", "ms", "of them"), parts)
    how = "drawn at the LADS paper's rates, weights random" if found.drawn else "chosen by the words"
    threads, compiled = console.many(found.threads, "thread"), f"compiled by {found.runtime or 'nothing'}"
    print(f"{found.model} on {found.device}, {threads}, {compiled}; Selections {how}")
    print(f"The first request of all took {found.first_ms:.0f} ms: PyTorch sets itself up in it.")
    if found.taken > BUSY:
        print(
            f"The machine was busy: other programs had the processor {console.percent(found.taken)} of the "
            "time, so these times are too long. Run it again when the machine is idle."
        )


def _row(row: "Row") -> tuple[str, ...]:
    return (
        row.name,
        f"{row.ms_median:.2f}",
        f"{row.ms_half[0]:.2f} to {row.ms_half[1]:.2f}",
        f"{row.ms_p95:.2f}",
        f"{row.images_per_s:.1f}",
        console.percent(row.share),
        f"{row.realised:.2f}",
        "" if row.peak_mb is None else f"{row.peak_mb:.1f}",
    )
