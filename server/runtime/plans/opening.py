"""From an opened version to sessions: verified bytes, external weights accounted for, providers judged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack

from model_repo import File, IntegrityError, Member, OnnxModel, Provider, Stacked, Version, member_files
from server.errors import LoadError
from server.runtime.answer.voters import idle_members
from server.runtime.options import Choice, RuntimeOptions
from server.runtime.plans.plan import Slot, role_of
from server.runtime.sessions import providers
from server.runtime.sessions.external_weights import ModelError, locations
from server.runtime.sessions.onnx_wire import OWN, Buffer
from server.runtime.sessions.pool import SessionPool
from server.runtime.sessions.session import Model, Session, SessionError, SessionKey, available_providers


class Opening:
    """Acquires the sessions of one version; `held` gives them all back.

    `known`: what was chosen for the same members before. `layout` is that choice's, so that a change of weights
    opens just the sessions that it will use; else the options'. `members` gives back what `slot` acquired.
    """

    def __init__(self, version: Version, pool: SessionPool, options: RuntimeOptions, held: ExitStack) -> None:
        self.version = version
        self.pool = pool
        self.fallbacks: dict[str, str] = {}
        self.members = held.enter_context(ExitStack())
        self._options = options
        self._held = held
        idle = idle_members(version.manifest)
        self._voters = tuple(member for member in version.manifest.members if member.name not in idle)
        self._choice_key = self._key_of_choice()
        self.known = pool.choices.get(self._choice_key)
        self.layout = options.layout() if self.known is None else self.known.layout
        self._threads = self._member_threads()

    def slot(self, member: Member) -> Slot:
        """The member's session in its place. Raises LoadError 'integrity', 'session' or 'provider'."""
        return self._slot(member, self._threads[member.name], self.members)

    def side_slot(self, model: OnnxModel) -> Slot:
        """The session of what is not run in every batch, while the version is open. Raises as `slot` does."""
        return self._slot(model, self.layout.threads, self._held)

    def slots(self, threads: Mapping[str, int], held: ExitStack) -> tuple[Slot, ...]:
        """The members with a share again, with the threads named; `held` gives them back. Raises as `slot` does."""
        return tuple(self._slot(member, threads[member.name], held) for member in self._voters)

    def remember(self, choice: Choice) -> None:
        """Let the next version with these members, wiring and options be run the same way."""
        self.pool.choices.put(self._choice_key, choice)

    def _slot(self, model: OnnxModel, threads: int, held: ExitStack) -> Slot:
        asked = self._asked(model)
        files = [file.file for file in member_files(model)]
        session = self._session(
            f"{role_of(model)} {model.name!r}", self._key(model, threads), lambda: self.model(model), files, held
        )
        self._judge(model, asked, session)
        return Slot(model, session)

    def stacker(self, fusion: Stacked) -> Session:
        """The session of `fusion.onnx`, on the CPU with one thread: its input is a few numbers a row."""

        def read() -> Model:
            data = self.version.buffer(fusion.file)
            _check_locations(data, ())
            return Model.of(data)

        return self._session("the fusion", SessionKey(fusion.sha256), read, [fusion.file], self._held)

    def merged(self, key: SessionKey, build: Callable[[], Model], held: ExitStack) -> Session:
        """The session of a graph built from members; whoever has built the same one shares it."""
        return self._session("the merged graph", key, build, (), held)

    def model(self, member: OnnxModel) -> Model:
        """The model's verified bytes, with those of the external files that it names.

        Raises IntegrityError for a file that is not what the manifest says, SessionError for a model that names
        a file that the manifest does not.
        """
        file, *external = member_files(member)
        data = self.version.buffer(file.file)
        _check_locations(data, member.external)
        beside = zip(member.external, external, strict=True)
        return Model.of(data, {entry.file: self.version.buffer(path.file) for entry, path in beside})

    def _session(
        self, subject: str, key: SessionKey, read: Callable[[], Model], files: Sequence[str], held: ExitStack
    ) -> Session:
        def check() -> None:
            for file in files:
                self.version.check(file)

        try:
            session = self.pool.acquire(key, read, check)
        except IntegrityError as error:
            raise LoadError("integrity", f"{subject}: {error}") from error
        except SessionError as error:
            raise LoadError("session", f"{subject} cannot be loaded: {error}") from error
        held.callback(self.pool.release, session)
        return session

    def _judge(self, member: OnnxModel, asked: Sequence[Provider], session: Session) -> None:
        """Refuse, or note, a session that does not run on what was asked for first."""
        sentence = providers.shortfall(asked, session.providers, available_providers(), session.problem)
        if sentence is None:
            return
        sentence = f"{role_of(member)} {member.name!r}: {sentence}"
        if providers.strict(self.version.manifest.execution, self._options):
            raise LoadError("provider", sentence)
        self.fallbacks[member.name] = sentence

    def _asked(self, member: OnnxModel) -> tuple[Provider, ...]:
        return providers.wanted(member, self.version.manifest.execution, self._options)

    def _key(self, member: OnnxModel, threads: int) -> SessionKey:
        external = {entry.file: entry.sha256 for entry in member.external}
        return SessionKey.of(member.sha256, external, self._asked(member), threads)

    def _key_of_choice(self) -> Hashable:
        """What measuring depends on: content and wiring of what every batch runs, its size, and what was asked for."""
        manifest, options = self.version.manifest, self._options
        members, detectors = (
            tuple((self._key(model, 1), tuple(sorted(model.inputs.items())), model.output) for model in models)
            for models in (self._voters, manifest.detectors)
        )
        return (
            members,
            detectors,
            tuple(member.rows for member in manifest.members),
            manifest.tokenizers,
            manifest.batching.max_batch_rows,
            options.cores,
            options.lanes,
            options.plan,
        )

    def _member_threads(self) -> dict[str, int]:
        members = self._voters
        told = () if self.known is None else self.known.threads
        threads = told or (self.layout.threads,) * len(members)
        return {member.name: count for member, count in zip(members, threads, strict=True)}


def merged_key(slots: Sequence[Slot], threads: int) -> SessionKey:
    """What makes two merged graphs the same: the members' content, wiring and outputs, providers and threads."""
    digest = hashlib.sha256(b"merged")
    for slot in slots:
        told = (slot.session.key.sha256, slot.session.key.external, sorted(slot.feeds.items()), slot.member.output)
        digest.update(repr(told).encode())
    return SessionKey(digest.hexdigest(), (), slots[0].session.key.providers, threads)


def _check_locations(data: Buffer, external: Sequence[File]) -> None:
    """Every external file that the model names must be in the manifest, or onnxruntime would open it by path."""
    try:
        named = locations(data)
    except ModelError as error:
        raise SessionError(str(error)) from error
    # onnxruntime reads a location with this mark as an address in its own memory.
    known = {entry.file for entry in external if "_ORT_MEM_ADDR_" not in entry.file and entry.file != OWN}
    unknown = sorted(named - known)
    if unknown:
        raise SessionError(f"its weights are in {', '.join(map(repr, unknown))}, which the manifest does not name")
