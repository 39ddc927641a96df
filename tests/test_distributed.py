"""Several processes, as torchrun starts them, do what one does."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch

from groundling import checkpoint
from groundling.training.distributed import joined
from groundling.training.train import Run, train

TORCHRUN = [
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc_per_node=2",
    tiny.__file__,
]


def launched(out: Path, *flags: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*TORCHRUN, str(out), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def logged(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("objective", "micro_batches"),
    [("plain", 2), ("detection", 2), ("informed", 1)],  # p(g) and the budget are a micro-batch's
)
def test_two_processes_train_as_one_does(tmp_path: Path, objective: str, micro_batches: int) -> None:
    """Two processes, each with some micro-batches, against one process with the whole batch."""
    cut = (f"objective={objective}", f"accumulate={micro_batches}")
    process = launched(tmp_path / "two", "--still", "log_every=1", *cut)
    data = tiny.config().data.model_copy(update={"things": objective == "detection"})
    config = tiny.config(model=tiny.STILL, freeze_norm=True, log_every=1, data=data)
    dataset = tiny.drawn(tmp_path / "own")
    dataset = tiny.thinned(dataset) if objective == "detection" else dataset
    run, loss = Run("tiny", config, "grounding"), tiny.OBJECTIVES[objective]
    one = train(run, tmp_path / "one", dataset=dataset, objective=loss)
    told, _ = process.communicate(timeout=600)
    assert process.returncode == 0, told
    assert "find_unused_parameters" not in told  # a warning of torch's about an option that nobody set
    by_part = {"metric/mi"} if micro_batches > 1 else set()
    check_alike(one, tmp_path / "two/final", by_part)


def check_alike(one: Path, two: Path, by_part: set[str]) -> None:
    """Two runs of six steps: what they logged (but numbers that are `by_part`), and their weights."""
    left, right = logged(one.parent), logged(two.parent)
    assert [line["step"] for line in right] == [1, 2, 3, 4, 5, 6]  # the first process writes, once
    for ours, theirs in zip(left, right, strict=True):
        assert theirs.keys() == ours.keys()
        for name in ours.keys() - {"grad_norm", "images_per_s", "data_wait"} - by_part:
            assert theirs[name] == pytest.approx(ours[name], rel=1e-4, abs=1e-6)
        assert theirs["grad_norm"] == pytest.approx(ours["grad_norm"], rel=1e-3)
    ours, theirs = (checkpoint.read_tensors(folder / "model.safetensors") for folder in (one, two))
    assert all(
        torch.allclose(tensor.float(), theirs[name].float(), atol=2e-4) for name, tensor in ours.items()
    )


def test_two_processes_divide_by_the_boxes_of_both(tmp_path: Path) -> None:
    """DETR's losses over boxes, of images with 0 to 2 objects: however many a process has."""
    process = launched(tmp_path / "two", "--still", "log_every=1", "objective=boxes")
    data = tiny.config().data.model_copy(update={"things": True})
    changes = {"model": tiny.DETR, "freeze_norm": True, "log_every": 1, "expressions_per_image": 1}
    dataset = tiny.thinned(tiny.drawn(tmp_path / "own", sides=tiny.SAME))
    run = Run("tiny", tiny.config(**changes, data=data), "grounding")
    one = train(run, tmp_path / "one", dataset=dataset, objective=tiny.boxes)
    told, _ = process.communicate(timeout=600)
    assert process.returncode == 0, told
    check_alike(one, tmp_path / "two/final", set())


def test_two_processes_learn_the_same_of_captions(tmp_path: Path) -> None:
    process = launched(tmp_path / "two", "--still", "log_every=1", "objective=words", "accumulate=1")
    config = tiny.config(model=tiny.MDETR, freeze_norm=True, log_every=1)
    run, dataset = Run("tiny", config, "mdetr"), tiny.drawn(tmp_path / "own")
    one = train(run, tmp_path / "one", dataset=dataset, objective=tiny.words)
    told, _ = process.communicate(timeout=600)
    assert process.returncode == 0, told
    assert "find_unused_parameters" not in told
    check_alike(one, tmp_path / "two/final", set())


def test_two_processes_end_early_together(tmp_path: Path) -> None:
    """The first one measures; the other would have waited for it at the next step."""
    process = launched(tmp_path / "two", "--judged", "evaluate_every=1", "patience=2", "log_every=1")
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert told.count("no better after step 1, whose weights are kept") == 1
    assert checkpoint.read_config(tmp_path / "two/final")["training"]["step"] == 1
    assert logged(tmp_path / "two")[-1]["step"] == 3


def test_processes_go_from_run_to_run(tmp_path: Path) -> None:
    """They left their group between runs: who joined anew met the other's old group, and both waited."""
    process = launched(tmp_path / "two", "--twice", "steps=2", "schedule=constant")
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert {name.name for name in (tmp_path / "two").iterdir()} == {"tiny", "again"}
    assert checkpoint.read_config(tmp_path / "two/again/final")["training"]["init"] == "final"


LEAVES = """
from pathlib import Path
import torch
from groundling.training.distributed import joined

def train():
    held = [torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 3))]
    held.append(held)
    held[0](torch.ones(2, 3)).sum().backward()

with joined("cpu") as group:
    train()
    group.wait()
print([name for task in Path("/proc/self/task").iterdir() if "gloo" in (name := (task / "comm").read_text())])
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no list of threads")
def test_a_group_that_was_left_has_no_threads(tmp_path: Path) -> None:
    """Threads of gloo that live on at a process's end may terminate it after all is done."""
    script = tmp_path / "leaves.py"
    script.write_text(LEAVES)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*TORCHRUN[:-1], str(script)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[]", "[]"]


def test_two_processes_stop_at_the_same_step(tmp_path: Path) -> None:
    out = tmp_path / "two"
    process = launched(out, "steps=500", "slow=0.05")
    assert process.stdout is not None
    next(line for line in process.stdout if line.startswith("tiny "))
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=600)
    (newest, *_) = checkpoint.steps(out)
    step = checkpoint.load_trainer(newest).step
    assert f"stopped at step {step} of 500" in told
    assert step < 500
    assert not list(out.glob(".*"))


def test_processes_that_share_no_disk_cannot_resume(tmp_path: Path) -> None:
    """One process found step 2, the other nothing: they would have trained different steps together."""
    config = tiny.config(steps=2, schedule="constant")
    dataset = tiny.drawn(tmp_path / "images")
    train(Run("tiny", config, "grounding"), tmp_path / "out/0", dataset=dataset, objective=tiny.objective)
    process = launched(tmp_path / "out", "--apart", "--resume", "schedule=constant")
    told, _ = process.communicate(timeout=600)
    assert process.returncode != 0
    assert "at different steps, 0 to 2: it must be one folder on a disk that all of them share" in told


def test_a_batch_that_processes_cannot_share_is_refused_at_once(tmp_path: Path) -> None:
    """It used to be noticed by the first step, when the folder was there already."""
    process = launched(tmp_path / "two", "images_per_batch=5")
    told, _ = process.communicate(timeout=600)
    assert process.returncode != 0
    assert "a batch of 5 images cannot be cut into 2 equal parts; set images_per_batch to a multiple" in told
    assert not (tmp_path / "two").exists()


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    messages = {"cuda": "PyTorch .* finds 0 GPUs; use cpu", "gpu": "no device 'gpu'; give cpu, cuda"}
    for name, message in messages.items():
        with pytest.raises(ValueError, match=message), joined(name):
            pass
    with joined("auto") as group:
        assert (group.rank, group.world, group.device.type) == (0, 1, "cpu")
        assert group.any(True)
        assert not group.any(False)
        assert group.range(3) == (3, 3)
        assert group.sum({"b": torch.tensor(2), "a": torch.tensor(0.5)}) == {"a": 0.5, "b": 2.0}
