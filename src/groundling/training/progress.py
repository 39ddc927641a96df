"""How a training says where it is: a bar in a terminal or plain lines, log.jsonl, TensorBoard."""

import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor

from groundling.training.distributed import Group

SHOWN = {  # what a reader watches, and how it is written
    "loss": "loss {:.4g}",
    "metric/prec@0.5": "prec@0.5 {:.3f}",
    "metric/share": "MACs {:.1%}",
    "lr": "lr {:.3g}",
    "grad_norm": "grad {:.3g}",
    "images_per_s": "images/s {:.4g}",
    "data_wait": "data wait {:.0%}",
}


class Progress:
    """Writes and shows the numbers of a run; in processes other than the first, nothing.

    Files begin with the first numbers: a run whose first step is refused leaves none.
    """

    def __init__(
        self, out: Path, name: str, start: int, steps: int, *, speaks: bool = True, board: bool = True
    ) -> None:
        self.out, self.name, self.steps, self.speaks = out, name, steps, speaks
        self.began, self.start, self.wants_board = time.monotonic(), start, board
        self.opened = False
        self.bar: Any = None
        self.board: Any = None
        if speaks and sys.stdout.isatty():
            self.bar, self.task = _bar(name, start, steps)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
        if self.board is not None:
            self.board.close()

    def step(self, step: int) -> None:
        """Move the bar; `step` steps are done."""
        if self.bar is not None:
            self.bar.update(self.task, completed=step)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Show and keep the numbers measured up to `step`."""
        if not self.speaks:
            return
        if not self.opened:
            self._open()
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, **{k: _six_digits(v) for k, v in numbers.items()}}) + "\n")
        if self.board is not None:
            for name, value in numbers.items():
                self.board.add_scalar(name, value, step)
        if self.bar is not None and "loss" in numbers:
            self.bar.update(self.task, numbers=_brief(numbers))
        elif self.bar is not None:
            self.say(f"{self.name} {step}/{self.steps}  {_brief(numbers)}")
        else:
            done = step - self.start
            left = (time.monotonic() - self.began) / max(1, done) * (self.steps - step)
            self.say(f"{self.name} {step}/{self.steps}  {_brief(numbers)}  eta {_clock(left)}")

    def _open(self) -> None:
        self.opened = True
        self.out.mkdir(parents=True, exist_ok=True)
        _forget(self.out / "log.jsonl", self.start)
        self.board = _tensorboard(self.out / "tensorboard", self.start) if self.wants_board else None

    def say(self, line: str) -> None:
        """A line for the reader, beside the bar."""
        if not self.speaks:
            return
        if self.bar is not None:
            self.bar.console.print(line, highlight=False, markup=False)
        else:
            print(line, flush=True)


class Meter:
    """Means of what the steps since the last reading returned, and how fast they were."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self._reset()

    def _reset(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps, self.images, self.waited, self.since = 0, 0, 0.0, time.monotonic()

    def wait(self, seconds: float) -> None:
        """Time spent waiting for data."""
        self.waited += seconds

    def add(self, terms: Mapping[str, Tensor], images: int) -> None:
        """One step's terms: this process's parts of means over the global batch."""
        for name, term in terms.items():
            self.sums[name] = self.sums[name] + term.detach() if name in self.sums else term.detach()
        self.steps += 1
        self.images += images

    def read(self) -> dict[str, float]:
        """The means over processes and steps since the last reading."""
        means = {name: value / self.steps for name, value in self.group.sum(self.sums).items()}
        seconds = max(time.monotonic() - self.since, 1e-9)
        means |= {"images_per_s": self.images / seconds, "data_wait": self.waited / seconds}
        self._reset()
        return means


def _brief(numbers: Mapping[str, float]) -> str:
    """The numbers a reader watches; where none of them is there, all."""
    shown = [form.format(numbers[name]) for name, form in SHOWN.items() if name in numbers]
    return "  ".join(shown or [f"{name} {value:.4g}" for name, value in numbers.items()])


def _six_digits(value: float) -> float | None:
    """A number as JSON knows it: short, and null where it is none."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _bar(name: str, start: int, steps: int) -> tuple[Any, Any]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Bar(*columns, TextColumn("{task.fields[numbers]}"))
    bar.start()
    return bar, bar.add_task(name, total=steps, completed=start, numbers="")


def _tensorboard(folder: Path, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder, purge_step=start + 1)


def _forget(file: Path, start: int) -> None:
    """Drop the lines after step `start`, which will be run again, and a last line cut short."""
    if not file.exists():
        return
    kept = []
    for line in file.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= start:
                kept.append(line)
        except ValueError:
            continue
    file.write_text("".join(line + "\n" for line in kept))
