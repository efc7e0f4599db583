"""A loaded version: its members' sessions, its plan and its fusion. Synchronous; any number of threads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from model_repo import Input, IntegrityError, Manifest, Mean, Stacked, Version
from server.errors import LoadError
from server.runtime.answer.outputs import DEFAULT_OUTPUTS
from server.runtime.answer.shape_limits import ShapeLimits
from server.runtime.answer.task_steps import output_specs
from server.runtime.answer.tokenizers import TextError, Tokenizing
from server.runtime.answer.voters import WITHOUT_IDLE, Panel, idle_members
from server.runtime.datatypes import Array, Feeds, Floats
from server.runtime.golden.golden_rows import GoldenRows, read
from server.runtime.golden.reproduction import Evaluated, compare
from server.runtime.options import Choice, RuntimeOptions
from server.runtime.plans.candidates import Candidates
from server.runtime.plans.choice import Planning
from server.runtime.plans.opening import Opening
from server.runtime.plans.plan import Closed, Plan, Sequential, Slot
from server.runtime.prediction import FUSION, VOTERS, Execution, MemberFailure, OutputSpec, Prediction
from server.runtime.sessions.pool import SessionPool
from server.runtime.sessions.session import Session
from server.runtime.sessions.signature import Signature, problems
from server.runtime.side_model import Beside, SideModels
from server.runtime.side_models.detectors import Detecting, detector_specs
from server.runtime.side_models.extras import Extras


class LoadedEnsemble:
    """One version, ready to answer once `check_golden` and `choose_plan` have run. `digest`: the manifest's sha256.

    `providers`: member → execution providers really used. `fallbacks`: member → sentence, where another provider
    was asked for. `outputs`: every output offered, in order. `voters`: the members with a share in the answer,
    in order; the others are run only for who asks for `members`. Until `choose_plan` the members run sequentially, and
    `lanes` × `threads` (batches at once, most threads of a run) are not settled.
    """

    def __init__(
        self,
        opening: Opening,
        tokenizing: Tokenizing,
        slots: tuple[Slot, ...],
        side_slots: Sequence[Slot],
        stacker: Session | None,
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
        idle = idle_members(manifest)
        self._slots = tuple(slot for slot in slots if slot.member.name not in idle)
        self._idle_slots = tuple(slot for slot in slots if slot.member.name in idle)
        self._idle: Plan | None = Sequential(self._idle_slots) if idle else None
        self._everybody = Panel.of(manifest, stacker)
        self._voting = Panel.of(manifest, stacker, idle) if idle else self._everybody
        self.voters = self._voting.names
        self._needing_idle = frozenset(self.outputs) - WITHOUT_IDLE - self._side_names
        self._not_own = self._side_names | ({VOTERS} if idle else frozenset())
        self._options = options
        self._held = held
        self._separate: Plan = Sequential(self._slots)
        self._plan: Plan = self._separate
        self._choice = Choice("sequential", {}, {})
        self._member_names = frozenset((*self._everybody.names, FUSION))
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
            idle = idle_members(manifest)
            slots = tuple(
                opening.side_slot(member) if member.name in idle else opening.slot(member)
                for member in manifest.members
            )
            stacker = opening.stacker(manifest.fusion) if isinstance(manifest.fusion, Stacked) else None
            side = tuple(opening.side_slot(model) for model in (*manifest.detectors, *manifest.extras))
            _check_signature(manifest, (*slots, *side), stacker)
            return cls(opening, Tokenizing.open(version), slots, side, stacker, options, held.pop_all())

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
        needed = self._member_names
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
        self._slots, self._idle_slots, self._side = (), (), ()
        self._detecting = self._golden = self._good = self._shape_limits = self._idle = None
        self._everybody = self._voting = Panel.of(msgspec.structs.replace(self.manifest, fusion=Mean()), None)

    def _predict(self, plan: Plan, feeds: Feeds, outputs: Collection[str]) -> Prediction:
        started = perf_counter()
        rows = len(next(iter(feeds.values())))
        feeds, refusal = self._fed(feeds)
        execution = plan.run(feeds) if refusal is None else self._refused(self._slots, refusal)
        beside = self._beside(outputs, feeds, rows, refusal) if self._side else _NOTHING
        computed = perf_counter()
        panel = self._voting
        stack = panel.alignment.stack(execution.raw, rows)
        if stack.answered is not None and not execution.seconds:
            # One graph for all: run the members one by one, so that only one of them is blamed.
            execution = self._separate.run(feeds)
            computed = perf_counter()
            stack = panel.alignment.stack(execution.raw, rows)
        if self._idle is not None and (stack.answered is not None or not self._needing_idle.isdisjoint(outputs)):
            # Asked for, or needed: where one with a share is missing, the rule and the quorum are those of all.
            more = self._idle.run(feeds) if refusal is None else self._refused(self._idle_slots, refusal)
            execution = self._joined(execution, more)
            computed = perf_counter()
            panel = self._everybody
            stack = panel.alignment.stack(execution.raw, rows)
        P, answered = stack.P, stack.answered
        fused, learned_failures = panel.fuse(P, answered)
        own = [name for name in outputs if name not in self._not_own] if self._not_own else outputs
        answers = panel.answers.make(own, P, answered, fused)
        answers.update(beside.outputs)
        if self._idle is not None and VOTERS in outputs:
            answers[VOTERS] = self._of_voters(P)
        return Prediction(
            answers,
            answered,
            None if answered is None else panel.usable(answered),
            execution.failures + stack.failures + learned_failures + beside.failures,
            execution.seconds,
            computed - started,
            perf_counter() - computed,
        )

    def _joined(self, voting: Execution, idle: Execution) -> Execution:
        """What all members gave, in the manifest's order."""
        raw = _in_order(self._everybody.names, self._slots, voting.raw, self._idle_slots, idle.raw)
        if not voting.seconds:
            return Execution(raw, voting.failures + idle.failures)
        seconds = _in_order(self._everybody.names, self._slots, voting.seconds, self._idle_slots, idle.seconds)
        return Execution(raw, voting.failures + idle.failures, tuple(seconds))

    def _of_voters(self, P: Floats) -> Array:
        """float32 [n, K, C] of the members with a share."""
        places = [k for k, name in enumerate(self._everybody.names) if name in self.voters]
        voting: Array = (P if len(P) == len(places) else P[places]).transpose(1, 0, 2).astype(np.float32)
        return voting

    def _fed(self, feeds: Feeds) -> tuple[Feeds, str | None]:
        """What the models take, and why they cannot where a text of the batch cannot be encoded."""
        try:
            return self._tokenizing(feeds), None
        except TextError as error:
            return feeds, str(error)

    def _refused(self, slots: Sequence[Slot], detail: str) -> Execution:
        """No output of any of the members."""
        failures = [MemberFailure(slot.member.name, "invalid_input", detail) for slot in slots]
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
        names = self._everybody.names
        slots = _in_order(names, self._slots, self._slots, self._idle_slots, self._idle_slots)
        members = Sequential(slots, recalling=True)
        for start in range(0, rows.rows, self.manifest.batching.max_batch_rows):
            stop = min(start + self.manifest.batching.max_batch_rows, rows.rows)
            feeds, refusal = self._fed({name: array[start:stop] for name, array in rows.feeds.items()})
            run = partial(members.run, feeds) if refusal is None else partial(self._refused, slots, refusal)
            execution = self._opening.pool.in_background(run)
            beside = self._beside(rows.beside, feeds, stop - start, refusal)
            stack = self._everybody.alignment.stack(execution.raw, stop - start)
            fused, failures = self._everybody.fuse(stack.P, stack.answered)
            told = execution.failures + stack.failures + failures + beside.failures
            evaluated.add(stack.P.swapaxes(0, 1), fused, beside.outputs, told)
        return evaluated


_NOTHING = Beside({})


def _in_order(names: Sequence[str], *given: Any) -> list[Any]:
    """Slots with a value each, twice, as the values alone in the order of the members' names."""
    slots, values, others, more = given
    by_name = {
        slot.member.name: value for slot, value in (*zip(slots, values, strict=True), *zip(others, more, strict=True))
    }
    return [by_name[name] for name in names]


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
