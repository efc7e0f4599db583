"""`python -m loadtest.sharing`: members that share a file beside copies of it, by plan and batch size, in one sitting.

Three arrangements of four members of one structure: `shared`, one file with a trunk and four heads; `copies`, the same
weights in four files with a trunk each; `apart`, four files with trunks of their own, which is what copies would cost
if they were different networks. In process, on the CPU: what a server adds is the same for all.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from loadtest.peers.ensembles import CLASSES
from loadtest.peers.errors import PeerError
from loadtest.peers.machine import this_machine
from loadtest.peers.networks import INPUT, OUTPUT, convolutional
from model_repo import Repository
from model_repo.cli.command_line import Parser
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.runtime.options import PlanName

MEMBERS = 4
SIZES = (1, 8, 64)
SHAPE = (3, 32, 32)
_CHANNELS, _STRIDES = (24, 24, 48, 64), (1, 1, 2, 2)

Files = Mapping[str, tuple[ModelProto, str]]
"""Member → its file, and the output that it takes."""


def main(argv: Sequence[str]) -> int:
    """Measure and print a table; 0, or 2 where it could not be measured."""
    parser = Parser(prog="python -m loadtest.sharing", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help="for each figure [1]")
    arguments = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="tutti-sharing-") as folder:
            print(measured(Path(folder), arguments.seconds), end="")
    except PeerError as error:
        print(f"loadtest.sharing: {error}", file=sys.stderr)
        return 2
    return 0


def measured(folder: Path, seconds: float) -> str:
    """Median milliseconds of a batch, as a Markdown table."""
    for name, files in arrangements().items():
        publish(name, files, folder)
    rows = {count: np.random.default_rng(count).random((count, *SHAPE)).astype(np.float32) for count in SIZES}
    lines = [f"{this_machine().line()}\n\n{MEMBERS} members; ms a batch, median", ""]
    lines += ["| plan | members | " + " | ".join(f"{count} rows" for count in SIZES) + " |", "| --- " * 5 + "|"]
    with ExitStack() as held:
        runs: dict[tuple[PlanName, str], Callable[[int], object]] = {}
        for plan in get_args(PlanName):
            for name in arrangements():
                ensemble = _loaded(folder, name, plan)
                held.callback(ensemble.close)
                runs[plan, name] = _runner(ensemble, rows)
        for (plan, name), times in _timed(runs, seconds).items():
            lines.append(f"| {plan} | {name} | " + " | ".join(f"{times[count] * 1e3:.3f}" for count in SIZES) + " |")
    return "\n".join(lines) + "\n"


def arrangements() -> dict[str, Files]:
    """The members' files, three ways; `shared` and `copies` give the same answers."""
    apart = [convolutional(SHAPE[1], _CHANNELS, _STRIDES, CLASSES, seed=seed) for seed in range(MEMBERS)]
    copies = [_with_trunk(model, apart[0]) for model in apart]
    shared = _with_heads(copies)
    return {
        "shared": {f"m{k}": (shared, f"{OUTPUT}{k}") for k in range(MEMBERS)},
        "copies": {f"m{k}": (model, OUTPUT) for k, model in enumerate(copies)},
        "apart": {f"m{k}": (model, OUTPUT) for k, model in enumerate(apart)},
    }


def publish(name: str, files: Files, folder: Path) -> None:
    """The arrangement as an ensemble in `folder`/models, by Tutti's own command; raises PeerError."""
    command = [sys.executable, "-m", "tutti", "publish", name, "--repository", str(folder / "models")]
    command += ["--fusion", "mean", "--classes", ",".join(f"c{number}" for number in range(CLASSES))]
    for member, (model, output) in files.items():
        path = folder / f"{name}-{member}.onnx"
        path.write_bytes(model.SerializeToString(deterministic=True))
        command += ["--member", f"{member}={path}", "--output", f"{member}={output}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise PeerError(f"tutti publish {name} ended with status {done.returncode}: {done.stderr.strip()}")


def _with_trunk(model: ModelProto, other: ModelProto) -> ModelProto:
    """The model with the other's convolutions, and its own head."""
    copy, head = ModelProto(), f"{len(_CHANNELS)}"
    copy.CopyFrom(model)
    trunk = {tensor.name: tensor for tensor in other.graph.initializer}
    for tensor in copy.graph.initializer:
        if not tensor.name.endswith(head):
            tensor.CopyFrom(trunk[tensor.name])
    return copy


def _with_heads(models: Sequence[ModelProto]) -> ModelProto:
    """One file: the trunk of the first, and the head of each under a name of its own."""
    whole, place = ModelProto(), len(_CHANNELS)
    whole.CopyFrom(models[0])
    graph = whole.graph
    trunk = [node for node in graph.node if node.op_type not in ("Gemm", "Softmax")]
    weights = [tensor for tensor in graph.initializer if tensor.name not in (f"w{place}", f"b{place}")]
    del graph.node[len(trunk) :], graph.initializer[:], graph.output[:]
    graph.initializer.extend(weights)
    for k, model in enumerate(models):
        for tensor in model.graph.initializer:
            if tensor.name in (f"w{place}", f"b{place}"):
                graph.initializer.add().CopyFrom(tensor)
                graph.initializer[-1].name = f"{tensor.name}/{k}"
        inputs = ["features", f"w{place}/{k}", f"b{place}/{k}"]
        graph.node.append(helper.make_node("Gemm", inputs, [f"logits{k}"]))
        graph.node.append(helper.make_node("Softmax", [f"logits{k}"], [f"{OUTPUT}{k}"], axis=1))
        graph.output.add().CopyFrom(models[0].graph.output[0])
        graph.output[-1].name = f"{OUTPUT}{k}"
    return whole


def _loaded(folder: Path, name: str, plan: PlanName) -> LoadedEnsemble:
    """The ensemble under this plan, one thread a run, two cores for those that run side by side."""
    options = RuntimeOptions(cores=2, plan=plan, lanes=2 if plan != "parallel" else 0)
    ensemble = LoadedEnsemble.open(Repository(folder / "models").open(name, 1), SessionPool(), options)
    ensemble.choose_plan()
    if ensemble.plan != plan:
        raise PeerError(f"{name} cannot be run {plan}: {dict(ensemble.plan_problems)}")
    return ensemble


def _runner(ensemble: LoadedEnsemble, rows: Mapping[int, NDArray[np.float32]]) -> Callable[[int], object]:
    return lambda count: ensemble.predict({INPUT: rows[count]}, ("probabilities",))


def _timed(
    runs: Mapping[tuple[PlanName, str], Callable[[int], object]], seconds: float
) -> dict[tuple[PlanName, str], dict[int, float]]:
    """Median seconds by batch size, in alternating rounds: a drifting machine is fair to all."""
    taken: dict[tuple[PlanName, str], dict[int, list[float]]] = {key: {size: [] for size in SIZES} for key in runs}
    for size in SIZES:
        end = time.perf_counter() + seconds * len(runs)
        while time.perf_counter() < end or len(taken[next(iter(runs))][size]) < 3:
            for key, run in runs.items():
                started = time.perf_counter()
                run(size)
                taken[key][size].append(time.perf_counter() - started)
    return {key: {size: median(times) for size, times in sizes.items()} for key, sizes in taken.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
