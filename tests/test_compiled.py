"""Compiled subnets answer as the eager ones, from the third request on, within their memory."""

import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small import WORDS, model_folder
from torch import Tensor

import groundling
from groundling import Grounder, Selection, checkpoint
from groundling.dynamic.blocks import BlockCache
from groundling.models.supernet import Network, Prediction
from groundling.runtime.compiled import CompiledSubnets, CompileWarning
from groundling.runtime.compilers import Elsewhere, _call, _end, resolved
from groundling.words.tokens import Tokens

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("model") / "small")


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (50, 70, 3), dtype=np.uint8))


def half(model: Grounder, start: int) -> Selection:
    """Every layer, every other filter."""
    units = model.model.units()
    return Selection(
        tuple((u.name, tuple(u.size == 1 or i % 2 == start for i in range(u.size))) for u in units)
    )


@pytest.mark.parametrize("runtime", ["openvino", "onnx", "compiled"])
def test_a_runtime_gives_the_boxes_of_the_eager_subnets(folder: Path, runtime: Any) -> None:
    try:
        model = groundling.load(folder, runtime=runtime)
    except ValueError as error:
        pytest.skip(str(error))
    eager = groundling.load(folder)
    chosen = half(model, 0)
    assert isinstance(model.runner, CompiledSubnets)
    for turn in range(4):
        found = model.ground(picture(turn), WORDS[0], selection=chosen)
        expected = eager.ground(picture(turn), WORDS[0], selection=chosen)
        assert found.box == pytest.approx(expected.box, abs=1e-3 * 70)
        assert found.score == pytest.approx(expected.score, abs=1e-4)
        if turn == 1:
            model.runner.wait()
    assert model.runner.stats.hits == 2
    assert model.runner.stats.held == 1


def test_others_are_answered_rightly_while_a_subnet_is_compiled(folder: Path) -> None:
    """A tracer's state belongs to its thread: batches with padding in other threads must not see it."""
    pytest.importorskip("openvino")
    model, other = groundling.load(folder, runtime="openvino"), groundling.load(folder)
    asked = [(picture(0), words) for words in WORDS]
    expected = [grounding.box for grounding in other.ground_batch(asked)]
    for _ in range(2):
        model.ground(picture(0), WORDS[0], selection=half(model, 0))
    assert isinstance(model.runner, CompiledSubnets)
    busy = model.runner._thread
    assert busy is not None
    while busy.is_alive():
        for found, box in zip(other.ground_batch(asked), expected, strict=True):
            assert found.box == pytest.approx(box, abs=1e-2)
    assert model.runner.stats.held == 1


class Backend:
    """Compiles by taking note; what it makes answers as the network does."""

    def __init__(self, fails: bool = False) -> None:
        self.made: list[Network] = []
        self.fails = fails

    def __call__(self, selection: Selection, net: Network, pixels: Tensor, text: Tensor) -> Any:
        if self.fails:
            raise RuntimeError("no such instruction")
        self.made.append(net)

        def run(pixels: Tensor, text: Tensor, tokens: Tokens, *, shown: Tensor | None = None) -> Prediction:
            return net(pixels, text, tokens, shown=shown)  # type: ignore[no-any-return]

        return run


def subnets(folder: Path, backend: Backend, limit: int = 10**9) -> tuple[Grounder, CompiledSubnets]:
    model = groundling.load(folder)
    cache: BlockCache[Network] = model.subnets
    made = CompiledSubnets(cache, backend, limit)
    model.runner = made
    return model, made


def ask_twice(model: Grounder) -> None:
    assert isinstance(model.runner, CompiledSubnets)
    for _ in range(2):
        model.ground(picture(0), "left", selection=half(model, 0))
        model.runner.wait()


def test_words_asked_once_are_not_compiled(folder: Path) -> None:
    backend = Backend()
    model, made = subnets(folder, backend)
    for start in (0, 1):
        model.ground(picture(0), "left", selection=half(model, start))
    made.wait()
    assert backend.made == []
    for _ in range(3):
        model.ground(picture(0), "left", selection=half(model, 0))
        made.wait()
    assert len(backend.made) == 1
    model.ground(picture(0), "the blue one on the left", selection=half(model, 0))  # another length
    assert made.stats.hits == 2


def test_compiled_subnets_keep_to_their_memory(folder: Path) -> None:
    backend = Backend()
    model, made = subnets(folder, backend)
    net = model.subnets.get(half(model, 0))
    one = sum(t.nbytes for t in (*net.parameters(), *net.buffers()))
    made.limit_bytes = one + one // 2
    for start in (0, 1, 1, 0):
        for _ in range(2):
            model.ground(picture(0), "left", selection=half(model, start))
            made.wait()
        assert made.stats.bytes <= made.limit_bytes
        assert made.stats.held == 1
    assert len(backend.made) == 3  # 0, 1, and 0 again


def test_what_cannot_be_compiled_is_said_once_and_answered(folder: Path) -> None:
    model, made = subnets(folder, Backend(fails=True))
    chosen = half(model, 0)
    expected = groundling.load(folder).ground(picture(0), "left", selection=chosen)

    def answer(times: int) -> None:
        for _ in range(times):
            assert model.ground(picture(0), "left", selection=chosen).box == expected.box
            made.wait()

    with pytest.warns(CompileWarning, match="a subnet is not compiled: no such instruction") as said:
        answer(4)
    assert len(said) == 1
    model, made = subnets(folder, Backend(), limit=10)
    with pytest.warns(CompileWarning, match="the cache holds 10"):
        answer(2)


def test_what_computes_something_else_is_not_used(folder: Path) -> None:
    class Wrong(Backend):
        def __call__(self, selection: Selection, net: Network, pixels: Tensor, text: Tensor) -> Any:
            run = super().__call__(selection, net, pixels, text)

            def wrong(*given: Any, **shown: Any) -> Prediction:
                found = run(*given, **shown)
                return replace(found, boxes_cxcywh01=found.boxes_cxcywh01 + 0.01)

            return wrong

    model, made = subnets(folder, Wrong())
    with pytest.warns(CompileWarning, match=r"it differs from the network by 0\.01"):
        ask_twice(model)
    assert made.stats.held == 0


def test_what_another_process_says_reaches_the_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    model = groundling.load(folder, runtime="onnx")
    monkeypatch.setattr(checkpoint, "save", lambda place, *_: place.mkdir())  # an empty folder to read from
    with pytest.warns(CompileWarning, match="a subnet is not compiled: .*config.json is missing"):
        ask_twice(model)


def test_threads_share_compiled_subnets(folder: Path) -> None:
    backend = Backend()
    model, _ = subnets(folder, backend)
    alone = groundling.load(folder)
    asked = [(seed % 3, half(model, seed % 2)) for seed in range(24)]
    expected = [alone.ground(picture(seed), "left", selection=chosen).box for seed, chosen in asked]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda a: model.ground(picture(a[0]), "left", selection=a[1]).box, asked))
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-3)
    assert len(backend.made) <= 2


def test_one_subnet_is_compiled_at_a_time(folder: Path) -> None:
    """Nothing queues up: a program that ends waits for one compilation at most."""
    go = threading.Event()

    class Slow(Backend):
        def __call__(self, selection: Selection, net: Network, pixels: Tensor, text: Tensor) -> Any:
            go.wait(30)
            return super().__call__(selection, net, pixels, text)

    backend = Slow()
    model, made = subnets(folder, backend)
    for start in (0, 0, 1, 1, 1):
        model.ground(picture(0), "left", selection=half(model, start))
    go.set()
    made.wait()
    assert len(backend.made) == 1
    model.ground(picture(0), "left", selection=half(model, 1))
    made.wait()
    assert len(backend.made) == 2


def test_compiled_answers_need_no_eager_subnet(folder: Path) -> None:
    model, made = subnets(folder, Backend())
    for _ in range(3):
        model.ground(picture(0), "left", selection=half(model, 0))
        made.wait()
    before = model.subnets.stats
    model.ground(picture(0), "left", selection=half(model, 0))
    assert model.subnets.stats == before  # not one of its parts was asked for


@pytest.mark.parametrize("memory", [-1, "1", 0.5])
def test_memory_for_compiled_subnets_is_checked(folder: Path, memory: Any) -> None:
    with pytest.raises(ValueError, match=r"compiled_mib must be a whole number of MiB"):
        groundling.load(folder, compiled_mib=memory)


def test_runtimes_that_are_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ValueError, match="no runtime 'fast'; there are eager, compiled, openvino, onnx, auto"
    ):
        groundling.load(folder, runtime="fast")  # type: ignore[arg-type]
    cuda = torch.device("cuda")
    with pytest.raises(ValueError, match="openvino is for the CPU; use runtime='eager' on cuda"):
        resolved("openvino", cuda)
    assert resolved("auto", cuda) == "eager"
    with monkeypatch.context() as patch:
        patch.setenv("CXX", "no-such-compiler")
        with pytest.raises(ValueError, match=r"the runtime compiled needs a C\+\+ compiler"):
            resolved("compiled", CPU)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "openvino" else name)
    assert resolved("auto", CPU) == "onnx"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"openvino needs openvino; pip install 'groundling\[export\]'"):
        resolved("openvino", CPU)
    with pytest.raises(ValueError, match="onnx needs onnx, onnxscript, onnxruntime"):
        resolved("onnx", CPU)
    assert resolved("auto", CPU) == "eager"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        groundling.load(folder, runtime="auto").ground(picture(0), "left")


def test_nothing_of_the_working_folder_is_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A torch.py beside the user's pictures was executed by the process that compiles."""
    (tmp_path / "torch.py").write_text("raise SystemExit('this must not run')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match="nothing"):
        _call([str(tmp_path / "nothing"), "onnx", "3", "32", "32", str(tmp_path / "out.onnx")], "", [])


def test_a_program_that_ends_does_not_wait(folder: Path) -> None:
    model = groundling.load(folder)
    made = CompiledSubnets(model.subnets, Elsewhere(model.model, model.tokenizer, "onnx"), 10**9)
    assert made._can_be_left
    assert isinstance(made._compile, Elsewhere)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], text=True) as process:
        made._compile._working.append(process)
        _end(made._compile._working)
    assert process.returncode != 0
