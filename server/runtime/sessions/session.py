"""onnxruntime sessions: opened from verified bytes, shared by digest. Only this and `binding` import onnxruntime."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

# Read while onnxruntime is imported: its Linux builds keep and send usage events otherwise, and a server must not.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from model_repo import Provider
from server.runtime.datatypes import Array, Feeds, TensorInfo
from server.runtime.sessions.golden_answers import Recollection
from server.runtime.sessions.io_binding import runner
from server.runtime.sessions.onnx_wire import OWN, SPLIT_FROM_BYTES, Buffer, WireError, split
from server.runtime.sessions.provider_options import chosen, native
from server.runtime.sessions.providers import CPU, select

# The default logger writes a failed provider to stderr; `Session.problem` carries it instead.
onnxruntime.set_default_logger_severity(4)

CHUNK_BYTES = 8 << 20
TAKE_BUFFERS = frozenset({CPU, "CUDAExecutionProvider"})
"""Execution providers that run onnxruntime's own graph; others compile the file that they are given, weights inside."""

Options = tuple[tuple[str, str], ...]

_ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    error for error in vars(ort).values() if isinstance(error, type) and issubclass(error, Exception)
)
# std::exception, std::bad_alloc and casters of the binding come as these.
_ERRORS: tuple[type[Exception], ...] = (*_ORT_ERRORS, RuntimeError, ValueError, TypeError, MemoryError)

# The error's code, and the place in onnxruntime's own sources: "/…/x.cc:12 void f(int) const [with T = U] ".
_NOISE = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : |Status Message: "
    r"|/\S+?\.(?:cc|h|hpp):\d+ (?:[\w:<>*&~, ]+\([^()]*\)(?: const)?(?: \[with [^\]]*\])? )?"
)
_IN_MEMORY = re.compile(r"/proc/self/fd/\d+")


class SessionError(Exception):
    """A model cannot be opened; one line that says why, without the member's name."""


class RunError(Exception):
    """A run failed; `reason` says whether the input is at fault as far as onnxruntime can tell."""

    def __init__(self, reason: Literal["error", "invalid_input"], detail: str) -> None:
        super().__init__(detail)
        self.reason: Literal["error", "invalid_input"] = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Model:
    """Verified bytes of an ONNX file, and of its external weight files by the location that the file names.

    Of a large file (`of`) `data` is what is left without its weights, which are external: in the file itself.
    """

    data: Buffer
    external: Mapping[str, Buffer] = field(default_factory=dict)

    @staticmethod
    def of(data: Buffer, external: Mapping[str, Buffer] | None = None) -> Model:
        """The model of a whole file. Raises SessionError where it is none."""
        beside = external or {}
        try:
            rest = split(data) if len(data) >= SPLIT_FROM_BYTES else None
        except WireError as error:
            raise SessionError(f"is no ONNX file: its protobuf cannot be read ({error})") from error
        return Model(data, beside) if rest is None else Model(rest, {**beside, OWN: data})

    def whole(self) -> Model:
        """The same with its own weights in the file, as it was."""
        beside = dict(self.external)
        own = beside.pop(OWN, None)
        return self if own is None else Model(own, beside)

    @property
    def bytes(self) -> int:
        """Size of the files."""
        own = 0 if OWN in self.external else len(self.data)
        return own + sum(map(len, self.external.values()))


@dataclass(frozen=True, slots=True)
class SessionKey:
    """What makes two sessions the same one: content, providers with options, threads.

    `external` pairs each location with its sha256. The policy is not part of it: it judges, it does not load.
    """

    sha256: str
    external: tuple[tuple[str, str], ...] = ()
    providers: tuple[tuple[str, Options], ...] = ()
    threads: int = 1

    @staticmethod
    def of(sha256: str, external: Mapping[str, str], providers: Sequence[Provider], threads: int) -> SessionKey:
        """The key of a model whose external `location → sha256` and asked providers are given."""
        asked = tuple((p.name, tuple(sorted(p.options.items()))) for p in providers)
        return SessionKey(sha256, tuple(sorted(external.items())), asked, threads)

    def asked(self) -> tuple[Provider, ...]:
        """The providers asked for, in order of preference."""
        return tuple(Provider(name=name, options=dict(options)) for name, options in self.providers)


def takes_buffers(providers: Iterable[str]) -> bool:
    """Whether these providers may be given weights apart from the file."""
    return TAKE_BUFFERS.issuperset(providers)


def available_providers() -> tuple[str, ...]:
    """The providers that this onnxruntime was built with; whether they work, only a session tells."""
    return tuple(onnxruntime.get_available_providers())


class Session:
    """One loaded model. Any number of threads may run it at once.

    `providers`: what the session really uses, first choice first. `problem`: what onnxruntime or the loader
    of shared libraries said when a provider that was asked for could not be had, else "".
    """

    def __init__(self, key: SessionKey, model: Model) -> None:
        self.key = key
        self.bytes = model.bytes
        self.parsed_bytes = len(model.data)
        """Of the file without its weights, where those were taken out."""
        handle, self.problem = _open(model, key.asked(), key.threads)
        self.providers = _providers_used(handle)
        self.inputs = tuple(_info(entry) for entry in handle.inputs_meta)
        tuning = chosen(_selected(key.asked()), self.providers[0])
        if any(entry.shape and isinstance(entry.shape[0], int) for entry in self.inputs):
            tuning = replace(tuning, buckets=None)  # its batches have one size already
        self._run = runner(handle, tuning)
        self.outputs = tuple(_info(entry) for entry in handle.outputs_meta)
        self.warm: set[int] = set()
        """Batch sizes that have run; a version that shares every session needs no second warm-up."""
        self._recollection = Recollection()

    def run(self, outputs: list[str], feeds: Feeds) -> list[Array]:
        """The named outputs for `feeds` (ONNX input name → array). Raises RunError."""
        try:
            result: list[Array] = self._run(outputs, feeds, None)
        except ort.InvalidArgument as error:
            raise RunError("invalid_input", sentence(error)) from error
        except _ERRORS as error:
            raise RunError("error", sentence(error)) from error
        return result

    def recall(self, outputs: list[str], feeds: Feeds) -> Sequence[Array]:
        """As `run`, for golden rows: without computing what was computed before. Raises RunError."""
        return self._recollection.ask(self.run, outputs, feeds)


def sentence(error: Exception) -> str:
    """The message of an onnxruntime error as one line, without its prefix and its source paths."""
    text = " ".join(str(error).split())
    return _IN_MEMORY.sub("its bytes", _NOISE.sub("", text)) or type(error).__name__


def _open(model: Model, asked: Sequence[Provider], threads: int) -> tuple[Any, str]:
    """A handle on the first provider of `asked` that works, else on the CPU; and what went wrong on the way."""
    remaining = list(_selected(asked))
    problems: list[str] = []
    while True:
        names = [provider.name for provider in remaining]
        try:
            handle = _handle(model, remaining, threads)
        except _ERRORS as error:
            if names == [CPU]:
                raise SessionError(sentence(error)) from error
            problems.append(f"{names[0]}: {sentence(error)}")
            remaining = remaining[1:] if len(remaining) > 1 else [Provider(name=CPU)]
            continue
        missing = [name for name in names if name not in handle.get_providers()]
        problems.extend(text for name in missing if (text := _library_problem(name)))
        return handle, "; ".join(dict.fromkeys(problems))


def _selected(asked: Sequence[Provider]) -> tuple[Provider, ...]:
    return select(asked, available_providers()).providers


def _handle(model: Model, providers: Sequence[Provider], threads: int) -> Any:
    options = _session_options(threads)
    model = model if takes_buffers(provider.name for provider in providers) else model.whole()
    if model.external:
        names = list(model.external)
        buffers = [model.external[name] for name in names]
        options.add_external_initializers_from_files_in_memory(names, buffers, [len(b) for b in buffers])
    if any(provider.name != CPU for provider in providers):
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        _preload_cuda()
    with _source(model.data) as source:
        session = onnxruntime.InferenceSession(
            source,
            options,
            providers=[(provider.name, native(provider)) for provider in providers],
            enable_fallback=0,  # or a failing run would quietly open the session anew on the CPU
        )
    # The handle inside: the wrapper keeps the model's bytes for as long as it lives (one more copy of every
    # model) and takes 9 of the 15 µs of a tiny run (measured) for checks that the handle makes again.
    return session._sess


@contextlib.contextmanager
def _source(data: Buffer) -> Iterator[bytes | str]:
    """What onnxruntime reads a model from: the bytes or, where they are many, a file in memory that holds them.

    It copies `bytes` with the interpreter's lock held, a file without.
    """
    descriptor = None if len(data) < SPLIT_FROM_BYTES else _memory_file()
    if descriptor is None:
        yield bytes(data)
        return
    try:
        written = 0
        while written < len(data):
            written += os.write(descriptor, memoryview(data)[written : written + CHUNK_BYTES])
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _memory_file() -> int | None:
    """A file in memory that has a path; None where the system has none, or does not allow it."""
    try:
        descriptor = os.memfd_create("tutti-model")
    except (AttributeError, OSError):
        return None
    if os.path.exists(f"/proc/self/fd/{descriptor}"):
        return descriptor
    os.close(descriptor)
    return None


def _session_options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Measured with 5 members on 2 cores: 34.5 ms and a full core spinning, 7.6 ms and 0.36 core without.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _providers_used(handle: Any) -> tuple[str, ...]:
    """The session's providers without those, before the CPU, that were given no node at all."""
    names = tuple(handle.get_providers())
    if names == (CPU,):
        return names
    busy = {part.ep_name for part in handle.get_provider_graph_assignment_info() if part.get_nodes()}
    return tuple(name for name in names if name in busy or name == CPU)


def _info(entry: Any) -> TensorInfo:
    return TensorInfo(entry.name, entry.type, tuple(entry.shape))


_preloading = threading.Lock()
_preloaded: list[str] = []


def _preload_cuda() -> None:
    """Load the CUDA libraries that are installed as wheels; once, and only where a GPU is asked for.

    onnxruntime prints what it misses; a server's stdout is not the place, so it is kept.
    """
    with _preloading:
        if _preloaded or not hasattr(onnxruntime, "preload_dlls"):
            return
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            onnxruntime.preload_dlls()
        _preloaded.append(printed.getvalue())


def _library_problem(provider: str) -> str:
    """Why the provider's shared library cannot be loaded, or "" where that is not what failed."""
    for path in _libraries(provider):
        try:
            ctypes.CDLL(str(path))
        except OSError as error:
            if "cannot open shared object" in str(error):
                return f"{path.name} needs {error}"
    return ""


def _libraries(provider: str) -> Iterator[Path]:
    folder = Path(ort.__file__).parent
    stem = provider.removesuffix("ExecutionProvider").lower()
    return folder.glob(f"libonnxruntime_providers_{stem}.so")
