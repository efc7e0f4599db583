"""A loaded version: its members' sessions, its plan and its fusion. Synchronous; any number of threads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from time import perf_counter

import numpy as np

from model_repo import Input, IntegrityError, Manifest, Stacked, Version
from server.errors import LoadError
from server.runtime.alignment import Alignment
from server.runtime.beside import Beside, SideModels
from server.runtime.candidates import Candidates
from server.runtime.datatypes import Array, Feeds, Mask
from server.runtime.detecting import Detecting, detector_specs
from server.runtime.extras import Extras
from server.runtime.golden import GoldenRows, read
from server.runtime.measuring import Choice
from server.runtime.opening import Opening
from server.runtime.options import RuntimeOptions
from server.runtime.outputs import DEFAULT_OUTPUTS, Answers, output_specs
from server.runtime.planning import Planning
from server.runtime.plans import Closed, Plan, Sequential, Slot
from server.runtime.pool import SessionPool
from server.runtime.prediction import FUSION, Execution, MemberFailure, OutputSpec, Prediction
from server.runtime.reproduction import Evaluated, compare
from server.runtime.sessions import Session
from server.runtime.shape_limits import ShapeLimits
from server.runtime.signature import Signature, problems
from server.runtime.stacking import Fuser, fuser
from server.runtime.tokenizing import TextError, Tokenizing


class LoadedEnsemble:
    """One version, ready to answer once `check_golden` and `choose_plan` have run. `digest`: the manifest's sha256.

    `providers`: member → execution providers really used. `fallbacks`: member → sentence, where another provider
    was asked for. `outputs`: every output offered, in order. Until `choose_plan` the members run sequentially, and
    `lanes` × `threads` (batches at once, most threads of a run) are not settled.
    """

    def __init__(
        self,
        opening: Opening,
        tokenizing: Tokenizing,
        slots: tuple[Slot, ...],
        side_slots: Sequence[Slot],
        fuse: Fuser,
        options: RuntimeOptions,
        held: ExitStack,
    ) -> None:
        manifest = opening.version.manifest
        self.manifest: Manifest = manifest
        self.digest = opening.version.digest
        self.lanes = opening.layout.lanes
        self.threads = opening.layout.threads
        self.providers: Mapping[str, tuple[str, ...]] = {
            slot.member.name: slot.session.providers for slot in (*slots, *side_slots)
        }
        self.fallbacks: Mapping[str, str] = opening.fallbacks
        self._detecting, self._side = _side_models(manifest, side_slots)
        self._side_names = frozenset(name for models in self._side for name in models.specs)
        self.outputs: Mapping[str, OutputSpec] = output_specs(manifest) | {
            name: spec for models in self._side for name, spec in models.specs.items()
        }
        self.default_outputs = (*DEFAULT_OUTPUTS[manifest.task], *detector_specs(manifest))
        self._opening = opening
        self._tokenizing = tokenizing
        self._slots = slots
        self._fuse = fuse
        self._options = options
        self._held = held
        self._separate: Plan = Sequential(slots)
        self._plan: Plan = self._separate
        self._choice = Choice("sequential", {}, {})
        self._alignment = Alignment(manifest)
        self._answers = Answers(manifest)
        self._voting_names = frozenset((*(member.name for member in manifest.members), FUSION))
        self._required = np.array([member.required for member in manifest.members])
        self._golden: GoldenRows | None = None
        self._good: Feeds | None = None
        self._shape_limits: ShapeLimits | None = None

    @classmethod
    def open(cls, version: Version, pool: SessionPool, options: RuntimeOptions) -> LoadedEnsemble:
        """Load the version's sessions, shared with whoever has them loaded, and check their signatures.

        Raises LoadError 'integrity', 'session', 'provider', 'tokenizer' or 'signature'; nothing stays acquired then.
        """
        manifest = version.manifest
        with ExitStack() as held:
            opening = Opening(version, pool, options, held)
            slots = tuple(opening.slot(member) for member in manifest.members)
            stacker = opening.stacker(manifest.fusion) if isinstance(manifest.fusion, Stacked) else None
            side = tuple(opening.side_slot(model) for model in (*manifest.detectors, *manifest.extras))
            _check_signature(manifest, (*slots, *side), stacker)
            fuse = fuser(manifest, stacker)
            return cls(opening, Tokenizing.open(version), slots, side, fuse, options, held.pop_all())

    @property
    def plan(self) -> str:
        """The name of the plan in use."""
        return self._plan.name

    @property
    def plan_report(self) -> Mapping[str, Mapping[int, float]]:
        """Plan → rows → measured seconds of a whole prediction; empty before `choose_plan`."""
        return self._choice.report

    @property
    def plan_problems(self) -> Mapping[str, str]:
        """Plan → why it could not be used."""
        return self._choice.problems

    @property
    def input_specs(self) -> tuple[Input, ...]:
        """The inputs that `predict` takes, all of them."""
        return self.manifest.inputs

    def seconds(self, rows: int) -> float:
        """Measured time of one batch of `rows` rows in seconds; 0.0 before `choose_plan`."""
        table = self._choice.seconds
        if not table:
            return 0.0
        return table[rows] if rows < len(table) else table[-1] * rows / (len(table) - 1)

    def predict(self, feeds: Feeds, outputs: Collection[str]) -> Prediction:
        """The named outputs for one batch: `feeds` maps every input to an array [n, ...] of its datatype.

        Members that fail are left out and told; nothing is raised for them. An extra that fails is told and not
        among the outputs. Names are not checked here:
        KeyError for an input or output that the ensemble does not have.
        """
        return self._predict(self._plan, feeds if type(feeds) is dict else dict(feeds), outputs)

    def check_golden(self) -> None:
        """Reproduce the golden rows on this machine. Raises LoadError 'golden' or 'integrity'."""
        rows = self._golden_rows()
        compare(self.manifest, rows, self._evaluated(rows))

    def choose_plan(self) -> None:
        """Measure plans and layouts on golden rows, keep the best and warm up every batch size in use."""
        rows = self._golden_rows()
        planning = Planning(self._opening, self._slots, self._options, self._held)
        # Token ids are in the golden rows for the plans' own checks; predictions make them anew, so that it is timed.
        golden = self._tokenizing(rows.feeds)
        self._merge_detectors(golden)
        chosen = planning.choose(golden, lambda plan, feeds: self._predict(plan, feeds, self.default_outputs))
        self._plan, self._choice, self._slots = chosen.plan, chosen.choice, chosen.slots
        self._separate = Sequential(chosen.slots)
        self.lanes, self.threads = chosen.choice.layout.lanes, chosen.choice.layout.threads
        self._good = {name: array[:1].copy() for name, array in rows.feeds.items()}
        self._shape_limits = ShapeLimits(self.manifest, self._good, self.predict)
        self._golden = None

    def models_of(self, outputs: Collection[str]) -> frozenset[str]:
        """The models that these outputs hang on, and `(fusion)`: every member, and of the others those asked for."""
        needed = self._voting_names
        for models in self._side:
            needed |= models.models_of(outputs)
        return needed

    def probe(self, outputs: Collection[str]) -> Prediction:
        """The answer to one golden row, which is known to be good. After `choose_plan`."""
        assert self._good is not None, "an ensemble is probed before it is ready: this is a bug"
        return self.predict(self._good, outputs)

    def shape_problem(self, feeds: Feeds, outputs: Collection[str]) -> str | None:
        """Which shape of a batch that failed on its own is to blame, with the limit; None where none is."""
        limits = self._shape_limits
        if limits is None or self._fed(feeds)[1] is not None:  # a text that no tokenizer takes is not too long
            return None
        return limits.problem(feeds, outputs)

    def close(self) -> None:
        """Give every session back; again is no error. Nothing may be running: the caller has drained."""
        self._held.close()
        self._plan = self._separate = Closed()
        self._slots, self._side, self._detecting, self._golden = (), (), None, None
        self._good = self._shape_limits = None
        self._fuse = lambda P, mask: (P[0], ())

    def _predict(self, plan: Plan, feeds: Feeds, outputs: Collection[str]) -> Prediction:
        started = perf_counter()
        rows = len(next(iter(feeds.values())))
        feeds, refusal = self._fed(feeds)
        execution = plan.run(feeds) if refusal is None else self._refused(refusal)
        beside = self._beside(outputs, feeds, rows, refusal) if self._side else _NOTHING
        computed = perf_counter()
        stack = self._alignment.stack(execution.raw, rows)
        if stack.answered is not None and not execution.seconds:
            # One graph for all: run the members one by one, so that only one of them is blamed.
            execution = self._separate.run(feeds)
            computed = perf_counter()
            stack = self._alignment.stack(execution.raw, rows)
        P, answered = stack.P, stack.answered
        fused, learned_failures = self._fuse(P, answered)
        own = [name for name in outputs if name not in self._side_names] if self._side else outputs
        answers = self._answers.make(own, P, answered, fused)
        answers.update(beside.outputs)
        return Prediction(
            answers,
            answered,
            None if answered is None else self._usable(answered),
            execution.failures + stack.failures + learned_failures + beside.failures,
            execution.seconds,
            computed - started,
            perf_counter() - computed,
        )

    def _fed(self, feeds: Feeds) -> tuple[Feeds, str | None]:
        """What the models take, and why they cannot where a text of the batch cannot be encoded."""
        try:
            return self._tokenizing(feeds), None
        except TextError as error:
            return feeds, str(error)

    def _refused(self, detail: str) -> Execution:
        """No output of any member."""
        failures = [MemberFailure(slot.member.name, "invalid_input", detail) for slot in self._slots]
        return Execution([None] * len(failures), tuple(failures), (0.0,) * len(failures))

    def _beside(self, outputs: Collection[str], feeds: Feeds, rows: int, refusal: str | None) -> Beside:
        """What the detectors and extras add to the outputs asked for."""
        arrays: dict[str, Array] = {}
        failures: tuple[MemberFailure, ...] = ()
        for models in self._side:
            if models.specs.keys().isdisjoint(outputs):
                continue
            added = models.answer(outputs, feeds, rows) if refusal is None else models.refused(outputs, rows, refusal)
            arrays |= added.outputs
            failures += added.failures
        return Beside(arrays, failures)

    def _merge_detectors(self, golden: Feeds) -> None:
        if self._detecting is not None and self._options.plan in ("auto", "merged"):
            slots = self._detecting.slots
            candidates = Candidates(self._opening, slots, self._opening.layout, self._options.cores)
            self._detecting.merge(candidates, golden, self._held)

    def _usable(self, answered: Mask) -> Mask | None:
        """Rows for which the quorum holds and every required member answered; None when all are."""
        usable: Mask = answered.sum(axis=0) >= self.manifest.quorum
        usable &= answered[self._required].all(axis=0)
        return None if usable.all() else usable

    def _golden_rows(self) -> GoldenRows:
        if self._golden is None:
            file = self.manifest.golden.file
            try:
                data = self._opening.version.read(file)
            except IntegrityError as error:
                raise LoadError("integrity", str(error)) from error
            self._golden = read(data, self.manifest)
        return self._golden

    def _evaluated(self, rows: GoldenRows) -> Evaluated:
        """What this machine answers to the golden rows, batch by batch."""
        evaluated = Evaluated()
        members = Sequential(self._slots, recalling=True)
        for start in range(0, rows.rows, self.manifest.batching.max_batch_rows):
            stop = min(start + self.manifest.batching.max_batch_rows, rows.rows)
            feeds, refusal = self._fed({name: array[start:stop] for name, array in rows.feeds.items()})
            run = partial(members.run, feeds) if refusal is None else partial(self._refused, refusal)
            execution = self._opening.pool.in_background(run)
            beside = self._beside(rows.beside, feeds, stop - start, refusal)
            stack = self._alignment.stack(execution.raw, stop - start)
            fused, failures = self._fuse(stack.P, stack.answered)
            told = execution.failures + stack.failures + failures + beside.failures
            evaluated.add(stack.P.transpose(1, 0, 2), fused, beside.outputs, told)
        return evaluated


_NOTHING = Beside({})


def _side_models(manifest: Manifest, slots: Sequence[Slot]) -> tuple[Detecting | None, tuple[SideModels, ...]]:
    """The detectors, and whatever of detectors and extras there is; `slots` are theirs in the manifest's order."""
    found: list[SideModels] = []
    count = len(manifest.detectors)
    detecting = Detecting(manifest, slots[:count]) if count else None
    if detecting is not None:
        found.append(detecting)
    if manifest.extras:
        found.append(Extras(manifest, slots[count:]))
    return detecting, tuple(found)


def _check_signature(manifest: Manifest, slots: Sequence[Slot], stacker: Session | None) -> None:
    """Raise LoadError 'signature' with everything in which the files and the manifest disagree."""
    models = {slot.member.name: _signature(slot.session) for slot in slots}
    found = problems(manifest, models, None if stacker is None else _signature(stacker))
    if found:
        raise LoadError("signature", "; ".join(found))


def _signature(session: Session) -> Signature:
    return Signature(session.inputs, session.outputs)
