"""One verb per job. What is wrong is one line on stderr and an exit code, never a traceback.

Exit codes: 0 done, 1 a fault of ours or a training whose numbers broke, 2 what was asked for cannot be done,
130 interrupted.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer
from typer.exceptions import TyperException

from groundling.cli import (
    analyze,
    answer,
    benchmark,
    console,
    data,
    demo,
    detect,
    evaluate,
    examples,
    export,
    ground,
    importing,
    info,
    phrases,
    segment,
    train,
)

TRACEBACK = "GROUNDLING_TRACEBACK"
INTERRUPTED = 130

app = typer.Typer(rich_markup_mode=None, help="Find what words mean in a picture.")
app.command(epilog=examples.shown(examples.GROUND))(ground.ground)
app.command(epilog=examples.shown(examples.DETECT))(detect.detect)
app.command(epilog=examples.shown(examples.PHRASES))(phrases.phrases)
app.command(epilog=examples.shown(examples.ANSWER))(answer.answer)
app.command(epilog=examples.shown(examples.SEGMENT))(segment.segment)
app.command(epilog=examples.shown(examples.DEMO))(demo.demo)
app.command(epilog=examples.shown(examples.INFO))(info.info)
app.add_typer(data.app, name="data")
app.command(epilog=examples.shown(examples.TRAIN))(train.train)
app.command(epilog=examples.shown(examples.EVALUATE))(evaluate.evaluate)
app.command(epilog=examples.shown(examples.ANALYZE))(analyze.analyze)
app.command("import", epilog=examples.shown(examples.IMPORT))(importing.bring_in)
app.command(epilog=examples.shown(examples.EXPORT))(export.export)
app.command(epilog=examples.shown(examples.BENCHMARK))(benchmark.benchmark)


def _print_version(wanted: bool) -> None:
    if wanted:
        from groundling import __version__

        print(f"groundling {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find what words mean in a picture, with the part of the network that the words need."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    if sys.stderr is None:  # as stdout below: closed by who called us
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (open for as long as we run)
    if sys.stdout is None:
        console.complain("error: standard output is closed, so there is nowhere to print; redirect it")
        return 2
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a stream that somebody put in their place
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        with console.warnings_shown():
            code = typer.main.get_command(app).main(given, "groundling", standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as stop:  # typer's where nobody reads our output, ours where a training was stopped
        return stop.code if isinstance(stop.code, int) else 0
    except (Exception, KeyboardInterrupt) as error:
        return _failed(error)
    if code == INTERRUPTED:  # typer's answer to Ctrl-C
        console.complain("interrupted")
    return code if isinstance(code, int) else 0


def _failed(error: BaseException) -> int:
    """Say in one line what went wrong; the exit code tells whose turn it is."""
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        console.complain("interrupted")
        return INTERRUPTED
    if os.environ.get(TRACEBACK):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):  # nobody reads our output any more, which is fine
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, TyperException):
        console.complain(f"error: {error.format_message()}")
        return 2
    if isinstance(error, OSError) and error.strerror:
        console.complain(f"error: {error.filename or 'system'}: {error.strerror}")
        return 2
    if isinstance(error, ValueError | OSError):
        console.complain(f"error: {error}")
        return 2
    if type(error).__module__.startswith("groundling."):
        console.complain(f"error: {error}")
        return 1
    console.complain(f"internal error: {type(error).__name__}: {error} ({TRACEBACK}=1 shows where)")
    return 1
