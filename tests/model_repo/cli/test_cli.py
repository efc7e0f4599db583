"""`tutti repo` as a person and as a script meet it: what it prints, where, and its exit status."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from model_repo import ImageInput, Input, Provider, Repository, Weighted
from model_repo.cli.repo import main
from model_repo.cli.tables import size
from model_repo.format.manifest import Execution
from tests.model_repo.samples import publish, published, tree

PROJECT = Path(__file__).parents[3]
REPORT: dict[str, Any] = {
    "rows": 360,
    "fused": {"rule": "weighted", "accuracy": 0.98611, "log_loss": 0.0431},
    "best_single": {"name": "cnn", "accuracy": 0.978},
    "members": {"cnn": {"accuracy": 0.978, "latency_ms": 0.21}},
    "rules": {"mean": {"accuracy": 0.98}},
}


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str


class Shell:
    """Runs `tutti repo` on one repository, in this process."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.repository = Repository(root)
        self._capsys = capsys

    def __call__(self, *words: str) -> Said:
        try:
            status = main([*words, "--repository", str(self.root)])
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, err = self._capsys.readouterr()
        return Said(status, out, err)

    def json(self, *words: str) -> Any:
        said = self(*words, "--json")
        assert said.status == 0, said.err
        return json.loads(said.out)


@pytest.fixture
def repo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    published(tmp_path / "models", 3)
    return Shell(tmp_path / "models", capsys)


def lines(said: Said) -> list[str]:
    assert said.err == ""
    assert said.status == 0
    return said.out.splitlines()


def test_list_prints_one_aligned_line_an_ensemble(repo: Shell) -> None:
    publish(repo.repository, "a-longer-name")
    repo("promote", "digits", "2")
    repo("canary", "digits", "3", "--percent", "2.5")
    repo("label", "digits", "edge", "1")
    assert lines(repo("list")) == [
        "ENSEMBLE       STABLE  VERSIONS  CANARY    SHADOW  LABELS",
        "a-longer-name       1  1         -              -  -",
        "digits              2  1 2 3     3 (2.5%)       -  edge 1",
    ]


def test_list_says_what_is_wrong_with_an_ensemble(repo: Shell) -> None:
    (repo.root / "digits" / "routes.json").write_text('{"stable": 9}')
    assert lines(repo("list"))[1:] == [
        "digits         -  1 2 3     -            -  -",
        "digits: stable is version 9, which is not published; published: 1, 2, 3",
    ]


def test_list_of_an_empty_repository_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(Shell(tmp_path, capsys)("list")) == [f"no ensembles in {tmp_path}"]


def test_list_shortens_many_versions(repo: Shell) -> None:
    published(repo.root, 9)
    assert "12  (2 older) 3 4 5 6 7 8 9 10 11 12" in repo("list").out


def test_list_as_json(repo: Shell) -> None:
    assert repo.json("list") == [
        {
            "name": "digits",
            "stable": 3,
            "versions": [1, 2, 3],
            "canary": None,
            "shadow": None,
            "labels": {},
            "problem": None,
        }
    ]


def test_show_lists_the_versions_with_roles_and_figures(repo: Shell) -> None:
    with_report = publish(repo.repository, report=REPORT, fusion=Weighted())
    repo("promote", "digits", "2")
    repo("shadow", "digits", str(with_report))
    text = lines(repo("show", "digits"))
    assert text[:3] == ["digits", "  version 2 is promoted; earlier: 4", ""]
    assert text[3].split() == [
        "VERSION", "ROUTES", "TASK", "MEMBERS", "FUSION", "SIZE", "PUBLISHED", "ACCURACY", "LOG", "LOSS"
    ]  # fmt: skip
    assert text[5].split()[:5] == ["2", "stable", "classification", "2", "mean"]
    assert text[7].split()[1] == "shadow"
    assert text[7].split()[-2:] == ["0.9861", "0.0431"]


def test_show_says_which_version_is_damaged_and_shows_the_others(repo: Shell) -> None:
    (repo.root / "digits" / "2" / "ensemble.json").write_text("{}")
    text = lines(repo("show", "digits"))
    assert text[1] == "  the newest version is stable (none is promoted)"
    assert text[5].split()[:3] == ["2", "-", "damaged"]
    assert text[-1] == "ensemble.json of digits/2: missing required field 'format'"
    assert [version["problem"] for version in repo.json("show", "digits")["versions"]] == [None, text[-1], None]


def test_show_of_broken_routes_says_so(repo: Shell) -> None:
    (repo.root / "digits" / "routes.json").write_text("{")
    assert lines(repo("show", "digits"))[1] == "  problem: digits/routes.json: is not JSON: Input data was truncated"


def test_show_of_an_ensemble_without_versions_says_so(repo: Shell) -> None:
    (repo.root / "new").mkdir()
    assert lines(repo("show", "new"))[-1] == "  no version is published"


def test_show_of_a_version_prints_its_manifest(repo: Shell) -> None:
    version = publish(
        repo.repository,
        inputs=(
            Input(name="pixels", datatype="FP32", shape=(-1, 8, 8),
                  image=ImageInput(mode="L", width=8, height=8, layout="HW")),
        ),
        execution=Execution(providers=(Provider(name="CUDAExecutionProvider"),), policy="strict"),
        description="Digits, \x1b[31mred\x1b[0m\nand more",
        report=REPORT,
        provenance={"recipe": "digits", "libraries": {"torch": "2.13"}, "seeds": [1, 2]},
    )  # fmt: skip
    text = repo("show", f"digits/{version}").out
    for expected in (
        f"digits/{version} (stable)\n",
        "  about      Digits, \\x1b[31mred\\x1b[0m\\nand more\n",
        "  task       classification, 3 classes: 0, 1, 2\n",
        "  quorum     1 of 2 members\n",
        "  providers  CUDAExecutionProvider (strict)\n",
        "pixels  FP32      [-1, 8, 8]  image 8×8 L\n",
        "REPORT (360 ROWS)  ACCURACY  LOG LOSS  LATENCY MS\n",
        "fused (weighted)     0.9861    0.0431           -\n",
        "best single (cnn)     0.978         -           -\n",
        "rule mean              0.98         -           -\n",
        "  libraries  torch 2.13\n",
        "  seeds      1, 2\n",
    ):
        assert expected in text
    assert "\x1b" not in text


ODD_REPORTS: list[dict[str, Any]] = [
    {},
    {"fused": {}},
    {"rows": "x", "fused": 3, "members": [1], "rules": {"mean": None}},
]


@pytest.mark.parametrize("report", ODD_REPORTS)
def test_show_takes_a_report_of_any_form(repo: Shell, report: dict[str, Any]) -> None:
    version = publish(repo.repository, report=report)
    assert "REPORT" not in repo("show", f"digits/{version}").out
    assert repo("show", "digits").status == 0


def test_show_of_a_version_as_json_has_the_manifest(repo: Shell) -> None:
    shown = repo.json("show", "digits/2")
    on_disk = json.loads((repo.root / "digits" / "2" / "ensemble.json").read_text())
    assert shown["manifest"] == on_disk
    assert (shown["name"], shown["version"], shown["roles"]) == ("digits", 2, [])
    assert len(shown["digest"]) == 64


def test_verify_passes_what_is_sound(repo: Shell) -> None:
    expected = ["VERSION   FOUND", "digits/1  ok", "digits/2  ok", "digits/3  ok"]
    assert lines(repo("verify")) == expected
    assert lines(repo("verify", "digits")) == expected
    assert lines(repo("verify", "digits/2")) == ["VERSION   FOUND", "digits/2  ok"]
    assert repo("verify", "digits", "2") == repo("verify", "digits/2")
    assert repo("show", "digits", "2") == repo("show", "digits/2")


def test_verify_exits_with_1_and_names_the_damage(repo: Shell) -> None:
    (repo.root / "digits" / "2" / "golden.npz").unlink()
    (repo.root / "digits" / "3" / "ensemble.json").write_text("{}")
    said = repo("verify")
    assert said.status == 1
    assert said.out.splitlines() == [
        "VERSION   FOUND",
        "digits/1  ok",
        "digits/2  digits/2/golden.npz is missing",
        "digits/3  ensemble.json of digits/3: missing required field 'format'",
    ]
    assert json.loads(repo("verify", "digits/2", "--json").out) == [
        {"name": "digits", "version": 2, "problem": "digits/2/golden.npz is missing"}
    ]


def test_verify_of_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(Shell(tmp_path, capsys)("verify")) == ["nothing to verify: no version is published"]


def test_routes_change_and_each_change_says_what_is_served_now(repo: Shell) -> None:
    story = [
        ("promote digits 2", "digits: stable 2 (was 3)"),
        ("canary digits 3 --percent 10%", "digits: stable 2, canary 3 at 10%"),
        ("canary digits 3 --percent 50", "digits: stable 2, canary 3 at 50%"),
        ("label digits edge 1", "digits: stable 2, canary 3 at 50%, label edge on 1"),
        ("shadow digits 1", "digits: stable 2, canary 3 at 50%, shadow 1, label edge on 1"),
        ("promote digits 3", "digits: stable 3 (was 2), shadow 1, label edge on 1"),
        ("shadow digits --off", "digits: stable 3, label edge on 1"),
        ("label digits edge --off", "digits: stable 3"),
        ("rollback digits", "digits: stable 2 (was 3)"),
        ("rollback digits", "digits: stable 3 (was 2)"),
        ("rollback digits", "digits: stable 2 (was 3)"),
        ("canary digits 1 --percent 0", "digits: stable 2, canary 1 at 0%"),
        ("canary digits --off", "digits: stable 2"),
        ("promote digits newest", "digits: stable 3 (was 2)"),
    ]
    assert [(words, "".join(lines(repo(*words.split())))) for words, _ in story] == story


def test_a_change_of_routes_as_json(repo: Shell) -> None:
    assert repo.json("promote", "digits", "2") == {
        "name": "digits",
        "stable": 2,
        "routes": {"stable": 2, "history": [3], "generation": 1},
    }


def test_prune_says_what_it_removes_and_keeps(repo: Shell) -> None:
    assert lines(repo("prune", "digits", "--keep", "1", "--dry-run")) == ["digits: would remove 1, 2; keeps 3"]
    assert repo.json("prune", "digits", "--keep", "2") == {
        "name": "digits",
        "removed": [1],
        "kept": [2, 3],
        "dry_run": False,
        "leftovers": 0,
    }
    assert lines(repo("prune", "digits", "--keep", "2")) == ["digits: removed nothing; keeps 2, 3"]


REFUSED = [
    ("promote digits 9", "digits has no version 9; published: 1, 2, 3"),
    ("canary digits 9 --percent 1", "digits has no version 9; published: 1, 2, 3"),
    ("shadow digits 9", "digits has no version 9; published: 1, 2, 3"),
    ("label digits edge 9", "digits has no version 9; published: 1, 2, 3"),
    ("label digits edge --off", "digits: no label 'edge'; labels: none"),
    ("label digits a/b 1", "digits: label 'a/b' is not a name: expected 1 to 128 letters, digits, '.', '_' or '-', "
                           "the first a letter or digit"),
    ("canary digits 3 --percent 1", "digits: a canary is compared with the stable version, and 3 is the stable one, "
                                    "because it is the newest and none is promoted; promote another one first"),
    ("promote letters 1", "ensemble 'letters' does not exist"),
    ("rollback letters", "ensemble 'letters' does not exist"),
    ("prune letters --keep 1", "ensemble 'letters' does not exist"),
    ("show letters", "ensemble 'letters' does not exist"),
    ("show digits/9", "digits has no version 9; published: 1, 2, 3"),
    ("verify digits/9", "digits has no version 9; published: 1, 2, 3"),
    ("show ..", "ensemble '..' is not a name: expected 1 to 128 letters, digits, '.', '_' or '-', "
                "the first a letter or digit"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[words for words, _ in REFUSED])
def test_what_cannot_be_done_is_one_line_on_stderr_and_changes_nothing(repo: Shell, words: str, message: str) -> None:
    before = tree(repo.root)
    assert repo(*words.split()) == Said(2, "", f"tutti repo: {message}\n")
    assert tree(repo.root) - before <= {"digits/.routes.lock"}


def test_a_version_that_no_server_could_load_gets_no_route(repo: Shell) -> None:
    (repo.root / "digits" / "2" / "ensemble.json").write_text("{}")
    said = repo("promote", "digits", "2")
    assert said == Said(2, "", "tutti repo: ensemble.json of digits/2: missing required field 'format'\n")


WRONG = [
    ("promote digits", "V is needed"),
    ("promote digits three", "V: expected a version number such as 3, or newest, got 'three'"),
    ("promote digits 03", "V: expected a version number such as 3, or newest, got '03'"),
    ("shadow digits latest", "V: expected a version number such as 3, got 'latest'"),
    ("shadow digits", "V or --off is needed"),
    ("shadow digits 1 --off", "--off: does not go with V"),
    ("canary digits 3", "--percent P is needed with a version"),
    ("canary digits 3 --percent 101", "--percent: expected a number from 0 to 100, got '101'"),
    ("canary digits 3 --percent nan", "--percent: expected a number from 0 to 100, got 'nan'"),
    ("canary digits 3 --percent x", "--percent: expected a number from 0 to 100, got 'x'"),
    ("show digits/x", "NAME[/V]: expected a version number such as 3, got 'x'"),
    ("verify digits/2 3", "digits/2 names a version already, and 3 is given too"),
    ("verify digits x", "V: expected a version number such as 3, got 'x'"),
    ("verify digits 1 2", "'2' is one word too many; tutti repo verify --help says what is taken"),
    ("prune digits", "--keep is needed"),
    ("prune digits --keep -1", "--keep: expected a whole number, 0 or more, got '-1'"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[words for words, _ in WRONG])
def test_a_wrong_call_exits_with_2_and_says_what_was_expected(repo: Shell, words: str, message: str) -> None:
    said = repo(*words.split())
    assert (said.status, said.out) == (2, "")
    assert said.err == f"tutti repo {words.split()[0]}: {message}\n"


def test_no_subcommand_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "tutti repo: COMMAND is needed\n"


def test_the_repository_comes_from_the_environment_or_is_models(
    repo: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repo.root.parent)
    assert main(["list"]) == 0
    shutil.move(repo.root, repo.root.parent / "elsewhere")
    assert main(["list"]) == 2
    assert capsys.readouterr().err == "tutti repo: model repository models does not exist\n"
    monkeypatch.setenv("TUTTI_REPOSITORY", "elsewhere")
    assert main(["list"]) == 0
    assert "digits" in capsys.readouterr().out


def test_every_subcommand_explains_itself(repo: Shell) -> None:
    words = ["list", "show", "verify", "promote", "rollback", "canary", "shadow", "label", "prune"]
    overview = repo("--help").out
    for word in words:
        said = repo(word, "--help")
        assert (said.status, said.err) == (0, "")
        assert "--json" in said.out
        assert f"\n    {word} " in overview


def test_the_real_command_line_runs_it(repo: Shell) -> None:
    command = [sys.executable, "-m", "tutti", "repo", "list", "--repository", str(repo.root)]
    done = subprocess.run(command, check=False, cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split() == ["digits", "3", "1", "2", "3", "-", "-", "-"]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_900, "99.9 kB"), (99_960, "100 kB"), (999_499, "999 kB"),
     (999_500, "1.0 MB"), (1_234_567_890, "1.2 GB"), (5 * 10**15, "5000 TB")],
)  # fmt: skip
def test_sizes_are_for_people(number: int, text: str) -> None:
    assert size(number) == text
