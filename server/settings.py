"""The server's settings: one struct, each field with its unit, its reason and how to choose it.

Order: command-line flags over `TUTTI_*` environment variables over `tutti.toml` over the defaults.
docs/configuration.md is written from this struct (`python -m server.settings`), and a test compares them.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from model_repo import Provider
from model_repo.cli.command_line import Parser
from model_repo.expectation import explained, shown
from model_repo.wording import did_you_mean, reason
from server.secret import SHORTEST, Secret

MIB = 1 << 20

Port = Annotated[int, Meta(ge=0, le=65535)]
Origin = Annotated[str, Meta(pattern=r"^(\*|[a-z][a-z0-9+.-]*://[^/\s,]+)$")]


class SettingsError(Exception):
    """A setting is unknown or its value cannot be used; the message names where it came from."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set; see each field's description."""

    repository: Annotated[
        str,
        Meta(description="Folder of the model repository. It is watched; publishing into it is how versions change."),
    ] = "models"
    host: Annotated[
        str,
        Meta(
            description="Address to listen on. Loopback unless told: choose 0.0.0.0, or `::` for IPv6 and IPv4, only "
            "behind a proxy or firewall."
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port; 0 takes a free one and prints it.")] = 8000
    control_host: Annotated[
        str, Meta(description="Address of the second listener, used when `control_port` is set.")
    ] = "127.0.0.1"
    control_port: Annotated[
        Port | None,
        Meta(
            description="Port of a second listener that alone answers the control paths (load, unload); "
            "the first then answers 404 to them. Choose it where the data port faces people you do not know.",
        ),
    ] = None
    control_token: Annotated[
        Secret | None,
        Meta(
            description="Bearer token of the control paths; without one they answer 403. "
            "Prefer `control_token_file`: flags and environment variables are visible to other processes of the user.",
        ),
    ] = None
    control_token_file: Annotated[
        str | None, Meta(description="File whose first line is the control token; read once at start.")
    ] = None

    cores: Annotated[
        int,
        Meta(
            ge=0,
            le=4096,
            description="Thread budget of the process: lanes × intra-op threads never exceed it. "
            "0 takes the CPU affinity and the smallest quota of the process's cgroups, v1 or v2. "
            "Set it when other services share the machine.",
        ),
    ] = 0
    fronts: Annotated[
        int,
        Meta(
            ge=0,
            le=64,
            description="Processes that read and write HTTP in front of the one that computes; 0 does all in one "
            "process. 0 on one or two cores; on more, 3 for small requests and up to 6 where JSON bodies are long: "
            "then the computing process is the limit. Take them off `cores`. With `access_log` they gain nothing.",
        ),
    ] = 0
    lanes: Annotated[
        int,
        Meta(
            ge=0,
            le=1024,
            description="Batches of one ensemble computed at the same time. 0 measures at load. "
            "1 favours the latency of big batches, as many as cores favours throughput.",
        ),
    ] = 0
    plan: Annotated[
        Literal["auto", "sequential", "parallel", "merged"],
        Meta(
            description="How members are executed. `auto` measures each at load and keeps the fastest; "
            "the others are for comparisons and for a member that must be timed on its own."
        ),
    ] = "auto"
    providers: Annotated[
        tuple[Provider, ...],
        Meta(
            description="Execution providers in order of preference for ensembles that name none, e.g. "
            "`CUDAExecutionProvider`; in tutti.toml with options. Empty is the CPU.",
        ),
    ] = ()
    provider_policy: Annotated[
        Literal["strict", "prefer"],
        Meta(
            description="`strict` refuses a version whose provider is not really used (onnxruntime falls back to "
            "the CPU silently); `prefer` serves it and says so in metadata, log and metric."
        ),
    ] = "prefer"
    memory_limit_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="A version is refused when the process would pass this many bytes of resident memory. "
            "0 takes 90% of the smallest limit of the process's cgroups, v1 or v2, or of the machine's memory.",
        ),
    ] = 0
    memory_factor: Annotated[
        float,
        Meta(
            ge=1,
            le=100,
            description="Estimate of a version's memory: bytes of the members not yet loaded × this. "
            "Measured: 1.3–2.5 for networks, up to 5 for trees, whose file is denser than their tables.",
        ),
    ] = 2.5
    keep_previous: Annotated[
        int,
        Meta(
            ge=0,
            le=16,
            description="Earlier stable versions kept loaded for an instant rollback. Each costs its memory; "
            "0 loads again on rollback.",
        ),
    ] = 0
    load_workers: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="Versions loaded at the same time. More shortens a cold start with many ensembles, "
            "and takes more processor time from requests during a swap.",
        ),
    ] = 1
    poll_interval_s: Annotated[
        float,
        Meta(
            ge=0.05,
            le=3600,
            description="Seconds between looks at the whole repository, behind the file events. "
            "Lower it on network file systems that send no events.",
        ),
    ] = 5.0

    max_body_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            description="Largest request body, and largest after decompression; more is answered 413. "
            "Triton's default is the same 64 MiB.",
        ),
    ] = 64 * MIB
    max_request_rows: Annotated[int, Meta(ge=1, description="Most rows in one request; more is answered 413.")] = 65_536
    max_request_elements: Annotated[
        int,
        Meta(ge=1, description="Most numbers in one tensor, checked before memory is taken; more is answered 413."),
    ] = 16_777_216
    body_timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            le=3600,
            description="Seconds a client may take to send its body; then 408 and the connection is closed. "
            "Guards against clients that trickle.",
        ),
    ] = 30.0
    keep_alive_s: Annotated[
        float,
        Meta(
            gt=0,
            le=86400,
            description="Seconds an idle connection stays open. Keep it above the load balancer's own idle time, "
            "or it will reuse a connection that is just being closed.",
        ),
    ] = 75.0
    max_connections: Annotated[
        int,
        Meta(
            ge=0,
            description="Open connections at most; more are answered 503. 0 is no limit but the process's files.",
        ),
    ] = 0
    rate_limit_rps: Annotated[
        float,
        Meta(
            ge=0,
            description="Requests per second that one client address may send, with a burst of one second; "
            "more is answered 429. 0 is off: right behind a proxy, where all clients have one address.",
        ),
    ] = 0.0

    cors_origins: Annotated[
        tuple[Origin, ...],
        Meta(
            description="Origins whose pages may ask from a browser and read answers (CORS), e.g. "
            "`https://shop.example`; a list in tutti.toml, commas between them elsewhere, `*` is any. None by default: "
            "list those that you own.",
        ),
    ] = ()

    ready_when_empty: Annotated[
        bool,
        Meta(
            description="Whether a server is ready (`/v2/health/ready`) while its repository holds no ensemble. "
            "Off, so that a volume that is not mounted or a wrong path gets no traffic; on where ensembles come later.",
        ),
    ] = False
    ready_ensembles: Annotated[
        tuple[str, ...],
        Meta(
            description="Ensembles that must serve for the server to be ready; names with commas between. "
            "Empty is every one that is published and not unloaded. Name those that traffic depends on where others "
            "share the repository: a refused first version of any would take all replicas out of the balancer.",
        ),
    ] = ()

    drain_delay_s: Annotated[
        float,
        Meta(
            ge=0,
            le=600,
            description="Seconds between 'not ready' and closing the listener at shutdown, so that load balancers "
            "notice first. 0 on a laptop; twice the readiness probe's period behind a balancer.",
        ),
    ] = 0.0
    shutdown_grace_s: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="Seconds that requests in flight may take to finish at shutdown. "
            "Keep it under the orchestrator's kill delay.",
        ),
    ] = 20.0

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severe message written to stderr.")
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"], Meta(description="`json` writes one object a line, for log collectors.")
    ] = "text"
    access_log: Annotated[
        bool, Meta(description="One line a request. Costs throughput on tiny ensembles: leave it off unless needed.")
    ] = False


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of `Settings` as flags, environment and docs see it."""

    name: str
    type: Any
    default: object
    description: str

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return "TUTTI_" + self.name.upper()

    @property
    def is_secret(self) -> bool:
        """Whether no message may show its value, whatever it is and wherever it came from."""
        return Secret in (self.type, *get_args(self.type))


def all_settings() -> Iterator[Setting]:
    """Every setting, in the order of the struct."""
    hints = get_type_hints(Settings, include_extras=True)
    for field in msgspec.structs.fields(Settings):
        annotation = hints[field.name]
        description = next(m.description for m in annotation.__metadata__ if isinstance(m, Meta))
        yield Setting(field.name, get_args(annotation)[0], field.default, description or "")


def add_arguments(parser: Parser) -> None:
    """One flag for each setting, plus `--config`."""
    parser.add_argument("--config", metavar="FILE", help="settings as TOML (default: tutti.toml where it exists)")
    for setting in all_settings():
        choices = get_args(setting.type) if _is_literal(setting.type) else None
        parser.add_argument(
            setting.flag,
            dest=setting.name,
            metavar=None if choices else setting.name.rsplit("_", 1)[-1].upper(),
            choices=choices,
            help=setting.description.replace("%", "%%") + f" [{_shown(setting.default)}]",
        )
        if setting.is_secret:
            parser.keep_secret(setting.flag)


def load(flags: Mapping[str, str | None], environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from flags over environment over file over defaults.

    Raises SettingsError, whose message says which source gave the value that is refused.
    """
    environ = os.environ if environ is None else environ
    config = flags.get("config") or environ.get("TUTTI_CONFIG")
    merged: dict[str, object] = {}
    source: dict[str, str] = {}
    for name, value in _from_file(config):
        merged[name], source[name] = value, config or "tutti.toml"
    known = {setting.name: setting for setting in all_settings()}
    for setting in known.values():
        if (text := environ.get(setting.variable)) is not None:
            merged[setting.name], source[setting.name] = _parsed(setting, text), setting.variable
        if (text := flags.get(setting.name)) is not None:
            merged[setting.name], source[setting.name] = _parsed(setting, text), setting.flag
    for name in merged:
        if name not in known:
            raise SettingsError(
                f"{source[name]}: unknown setting '{name}'; there are {', '.join(known)}"
                + did_you_mean(name.replace("-", "_"), known)
            )
    return _with_token(_checked(merged, source, known), source.get("control_token_file", ""))


def _checked(merged: Mapping[str, object], source: Mapping[str, str], known: Mapping[str, Setting]) -> Settings:
    for name, value in merged.items():
        try:
            _converted({name: value})
        except msgspec.ValidationError as error:
            if known[name].is_secret:
                said = str(error).split(" - at ")[0]
                raise SettingsError(f"{source[name]}: {name} {said}; its value is not shown") from None
            field, wanted = explained(str(error), Settings, {name: value})
            wanted = wanted.replace(f", got {shown(value)}", "") if field == name else f"{field}: {wanted}"
            raise SettingsError(f"{source[name]}: {name} = {value!r} is refused: {wanted}") from error
    return _converted(merged)


def _converted(values: Mapping[str, object]) -> Settings:
    return msgspec.convert(dict(values), Settings, strict=False, dec_hook=_secret)


def _secret(kind: type, value: object) -> object:
    """msgspec's hook for the one type of ours among the settings."""
    return kind(value)


def _with_token(settings: Settings, source: str) -> Settings:
    """The token from its file, so that nothing later needs to know where it came from."""
    if settings.control_token_file is None:
        return settings
    path = Path(settings.control_token_file)
    subject = f"{source}: control_token_file{_shown_file(path)}"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise SettingsError(f"{subject} is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no file can have this name"
        raise SettingsError(f"{subject} cannot be read: {reason}; the name of a file is expected") from None
    try:
        return msgspec.structs.replace(settings, control_token=Secret(lines[0].strip() if lines else ""))
    except ValueError as error:
        raise SettingsError(f"{subject}: the first line {error}") from None


def _shown_file(path: Path) -> str:
    """The file's name, but where it may be the token itself, given to the wrong setting."""
    try:
        is_a_name = len(str(path)) < SHORTEST or path.exists() or (len(path.parts) > 2 and path.parent.is_dir())
    except (OSError, ValueError):  # too long for a name, or with a NUL
        return ""
    return f" {str(path)!r}" if is_a_name else ""


def _from_file(config: str | None) -> Iterator[tuple[str, object]]:
    path = Path(config or "tutti.toml")
    if config is None and not path.exists():
        return
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"settings file '{path}' cannot be read: {reason(error)}") from error
    yield from content.items()


def _parsed(setting: Setting, text: str) -> object:
    """The text of a flag or variable as what msgspec converts; providers, origins and ensembles are lists."""
    if setting.name == "providers":
        return [{"name": name.strip()} for name in text.split(",") if name.strip()]
    if setting.name in ("cors_origins", "ready_ensembles"):
        return [name.strip() for name in text.split(",") if name.strip()]
    if setting.type is bool:
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(text.lower(), text)
    if type(None) in get_args(setting.type) and text == "":
        return None
    return text


def _is_literal(kind: object) -> bool:
    return getattr(kind, "__origin__", None) is Literal


def _shown(default: object) -> str:
    if default is None or default == ():
        return "none"
    return f"{default}".lower() if isinstance(default, bool) else f"{default}"


def markdown() -> str:
    """The settings as the table of docs/configuration.md."""
    rows = [
        "| setting | flag | variable | default | what it does and how to choose |",
        "| --- | --- | --- | --- | --- |",
    ]
    for s in all_settings():
        description = s.description.replace("|", "\\|")
        rows.append(f"| `{s.name}` | `{s.flag}` | `{s.variable}` | `{_shown(s.default)}` | {description} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
