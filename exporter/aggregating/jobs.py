"""A mixture as a job: the member's own trainer, with the mean of the parameters in the place of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from exporter.aggregating.mean import mean_of
from exporter.optimisation.spec import Parallel
from exporter.optimisation.state import digest_of
from exporter.parameters.file import Parameters, packed, unpacked, written
from exporter.parameters.start import Start
from exporter.training.jobs import Job


def mixed_job(name: str, job: Job, members: Mapping[str, Parameters], weights: Mapping[str, float]) -> Job:
    """What makes the aggregate on the rows of `job`, a training of a member of its family on them.

    `members` are all that were asked for, as they were trained on those rows; those of weight 0 take no part.
    """
    taken = {name: parameters for name, parameters in members.items() if weights[name]}
    mean = mean_of({name: parameters.networks for name, parameters in taken.items()}, weights)
    root = next(iter(taken.values())).root
    parents = tuple(f"{each} {parameters.digest}" for each, parameters in taken.items())
    facts = {
        "member": name, "family": job.spec.family, "start": digest_of(mean), "root": root, "parents": parents,
        "seen": _seen(taken),
    }  # fmt: skip
    source = f"the mean of {', '.join(taken)}"
    start = Start(source, digest_of(mean), root, parents, trains=False, data=written(mean, facts))
    return replace(job, member=name, technique=Parallel(), start=start, partners=())


def _seen(members: Mapping[str, Parameters]) -> dict[str, str]:
    """The rows that any of them was trained on."""
    found: dict[str, str] = {}
    for parameters in members.values():
        for data, rows in ({} if parameters.facts is None else parameters.facts.seen).items():
            both = np.union1d(unpacked(found[data]), unpacked(rows)) if data in found else unpacked(rows)
            found[data] = packed(both)
    return found
