"""The summaries as plain text, for `tutti repo list` and `show`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model_repo.cli.summary import EnsembleDetails, EnsembleSummary, VersionDetails, VersionSummary, metrics_of
from model_repo.cli.tables import date, fields, size, table
from model_repo.format.manifest import Conformal, Execution, Input, Manifest, OnnxModel, Tokenizer
from model_repo.format.rules import rule_of
from model_repo.wording import count, printable

_LISTED = 10


def ensembles_text(repository: str, ensembles: Sequence[EnsembleSummary]) -> str:
    """One line an ensemble, and below the table what is wrong with any."""
    if not ensembles:
        return f"no ensembles in {repository}"
    header = ("ENSEMBLE", "STABLE", "VERSIONS", "CANARY", "SHADOW", "LABELS")
    rows = [_ensemble_row(ensemble) for ensemble in ensembles]
    problems = [f"{entry.name}: {printable(entry.problem)}" for entry in ensembles if entry.problem]
    return "\n".join([table(header, rows, right=("STABLE", "SHADOW")), *problems])


def _ensemble_row(ensemble: EnsembleSummary) -> tuple[str, ...]:
    canary = ensemble.canary
    labels = ", ".join(f"{label} {version}" for label, version in sorted(ensemble.labels.items()))
    return (
        ensemble.name,
        _number(ensemble.stable),
        _numbers(ensemble.versions),
        f"{canary.version} ({canary.percent:g}%)" if canary else "",
        _number(ensemble.shadow),
        labels,
    )


def _number(version: int | None) -> str:
    return "" if version is None else str(version)


def _numbers(versions: Sequence[int]) -> str:
    """The newest few, ascending, after how many are left out: `(12 older) 13 14 15`."""
    shown = " ".join(map(str, versions[-_LISTED:]))
    return shown if len(versions) <= _LISTED else f"({len(versions) - _LISTED} older) {shown}"


def ensemble_text(details: EnsembleDetails) -> str:
    """The routes, then one line a version with the figures of its report."""
    lines = [details.name]
    if details.problem:
        lines.append(f"  problem: {printable(details.problem)}")
    if details.routes and details.routes.stable is None:
        lines.append("  the newest version is stable (none is promoted)")
    elif details.routes:
        history = " ".join(map(str, details.routes.history)) or "none"
        lines.append(f"  version {details.routes.stable} is promoted; earlier: {history}")
    if not details.versions:
        return "\n".join([*lines, "  no version is published"])
    return "\n".join([*lines, "", _versions_table(details.versions), *_version_problems(details)])


def _versions_table(versions: Sequence[VersionSummary]) -> str:
    metrics = list(dict.fromkeys(metric for version in versions for metric in version.metrics))
    header = ["VERSION", "ROUTES", "TASK", "MEMBERS", "FUSION", "SIZE", "PUBLISHED", *map(_title, metrics)]
    rows = [_version_row(version, metrics) for version in versions]
    return table(header, rows, right=("VERSION", "MEMBERS", "SIZE", *map(_title, metrics)))


def _version_row(version: VersionSummary, metrics: Sequence[str]) -> list[str]:
    return [
        str(version.version),
        ", ".join(version.roles),
        "damaged" if version.problem else version.task,
        str(version.members or ""),
        version.fusion,
        size(version.bytes) if version.bytes else "",
        date(version.published) if version.published else "",
        *_figures(version.metrics, metrics),
    ]


def _version_problems(details: EnsembleDetails) -> list[str]:
    return [printable(version.problem) for version in details.versions if version.problem]


def version_text(details: VersionDetails) -> str:
    """The manifest for people: head, inputs, members, report, provenance."""
    manifest = details.manifest
    roles = f" ({', '.join(details.roles)})" if details.roles else ""
    parts = [
        f"{details.name}/{details.version}{roles}",
        fields(_head(details)),
        _inputs_table(manifest.inputs),
        _tokenizers_table(manifest.tokenizers),
        _members_table(manifest),
        _report_table(manifest.report),
        _provenance(manifest.provenance),
    ]
    return "\n\n".join(part for part in parts if part).replace("\n\n", "\n", 1)


def _head(details: VersionDetails) -> list[tuple[str, str]]:
    manifest = details.manifest
    batching, golden = manifest.batching, manifest.golden
    return [
        ("about", manifest.description),
        ("task", _task(manifest)),
        ("fusion", f"{rule_of(manifest.fusion)}, temperature {manifest.fusion.temperature:.4g}"),
        ("quorum", f"{manifest.quorum} of {count(len(manifest.members), 'member')}"),
        ("conformal", _conformal(manifest.conformal)),
        ("golden", f"{count(golden.rows, 'row')} within {golden.atol:g} + {golden.rtol:g} × value"),
        ("batching", f"up to {count(batching.max_batch_rows, 'row')}, queue {batching.max_queue_rows} and "
                     f"{batching.max_queue_wait_s:g} s, delay {batching.max_queue_delay_s:g} s, "
                     f"timeout {batching.timeout_s:g} s"),
        ("providers", _execution(manifest.execution)),
        ("size", size(details.bytes)),
        ("published", date(details.published)),
        ("digest", details.digest),
    ]  # fmt: skip


def _task(manifest: Manifest) -> str:
    if not manifest.classes:
        return manifest.task
    names = ", ".join(manifest.classes[:_LISTED])
    more = ", …" if len(manifest.classes) > _LISTED else ""
    return f"{manifest.task}, {count(len(manifest.classes), 'class', 'classes')}: {names}{more}"


def _conformal(conformal: Conformal | None) -> str:
    return f"alpha {conformal.alpha:g}, quantile {conformal.quantile:.4g}" if conformal else ""


def _execution(execution: Execution) -> str:
    if not execution.providers:
        return "as the server is set"
    return f"{', '.join(provider.name for provider in execution.providers)} ({execution.policy})"


def _inputs_table(inputs: Sequence[Input]) -> str:
    rows = [(entry.name, entry.datatype, str(list(entry.shape)), _body(entry)) for entry in inputs]
    return table(("INPUT", "DATATYPE", "SHAPE", "ALSO AS"), rows)


def _body(entry: Input) -> str:
    if entry.image:
        return f"image {entry.image.width}×{entry.image.height} {entry.image.mode}"
    return f"text up to {entry.text.max_chars} characters" if entry.text else ""


def _tokenizers_table(tokenizers: Sequence[Tokenizer]) -> str:
    if not tokenizers:
        return ""
    rows = [
        (
            entry.name,
            entry.input,
            str(entry.max_tokens),
            f"{entry.max_windows} from every {entry.stride}" if entry.stride else "",
            size(entry.bytes),
        )
        for entry in tokenizers
    ]
    return table(("TOKENIZER", "INPUT", "TOKENS", "WINDOWS", "SIZE"), rows, right=("TOKENS", "SIZE"))


def _members_table(manifest: Manifest) -> str:
    header = ("MEMBER", "FAMILY", "KIND", "WEIGHT", "TEMPERATURE", "REQUIRED", "SIZE", "SHA256")
    rows: list[tuple[str, ...]] = [
        (
            member.name,
            member.family or "",
            member.kind,
            f"{member.weight:.4g}",
            f"{member.temperature:.4g}",
            "yes" if member.required else "",
            _model_size(member),
            member.sha256[:12],
        )
        for member in manifest.members
    ]
    rows += [
        (one.name, one.family or "", "detector", f"{one.weight:.4g}", "", "", _model_size(one), one.sha256[:12])
        for one in manifest.detectors
    ]
    rows += [
        (one.name, one.family or "", "extra", "", "", "", _model_size(one), one.sha256[:12]) for one in manifest.extras
    ]
    return table(header, rows, right=("WEIGHT", "TEMPERATURE", "SIZE"))


def _model_size(model: OnnxModel) -> str:
    return size(model.bytes + sum(file.bytes for file in model.external))


def _report_table(report: Mapping[str, Any]) -> str:
    """The report's figures in one table; a report is free, so whatever has another form is left out."""
    entries = [(label, figures) for label, figures in _report_entries(report) if figures]
    if not entries:
        return ""
    metrics = list(dict.fromkeys(metric for _, figures in entries for metric in figures))
    rows = [[label, *_figures(figures, metrics)] for label, figures in entries]
    rows_tested = report.get("rows")
    title = f"REPORT ({rows_tested} ROWS)" if isinstance(rows_tested, int) else "REPORT"
    titles = [_title(metric) for metric in metrics]
    return table([title, *titles], rows, right=titles)


def _report_entries(report: Mapping[str, Any]) -> list[tuple[str, dict[str, float]]]:
    entries = [(_labelled("fused", report), metrics_of(report.get("fused")))]
    entries.append((_labelled("best_single", report), metrics_of(report.get("best_single"))))
    for group, noun in (("members", "member"), ("rules", "rule")):
        part = report.get(group)
        if isinstance(part, dict):
            entries += [(f"{noun} {name}", metrics_of(figures)) for name, figures in part.items()]
    return entries


def _labelled(entry: str, report: Mapping[str, Any]) -> str:
    figures = report.get(entry)
    said = (figures.get("rule") or figures.get("name")) if isinstance(figures, dict) else None
    return f"{entry.replace('_', ' ')} ({said})" if isinstance(said, str) else entry.replace("_", " ")


def _provenance(provenance: Mapping[str, Any]) -> str:
    pairs = [(printable(str(key)), _flat(value)) for key, value in provenance.items()]
    return "PROVENANCE\n" + fields(pairs) if pairs else ""


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(part)}" for key, part in value.items())
    return ", ".join(map(_flat, value)) if isinstance(value, list) else str(value)


def _figures(figures: Mapping[str, float], metrics: Sequence[str]) -> list[str]:
    return [f"{figures[metric]:.4g}" if metric in figures else "" for metric in metrics]


def _title(metric: str) -> str:
    return printable(metric).replace("_", " ").upper()
