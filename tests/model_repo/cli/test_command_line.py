"""The parser of every command: one line for a wrong call, nothing abbreviated, nothing secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_repo.cli.command_line import Parser
from model_repo.wording import did_you_mean


@pytest.fixture
def parser() -> Parser:
    parser = Parser(prog="tutti play")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--member", required=True)
    parser.add_argument("--max-batch-rows", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--repository")
    parser.add_argument("--rule", choices=("mean", "median"))
    parser.add_argument("--json", action="store_true")
    return parser


def refusal(parser: Parser, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        parser.parse_args(words)
    assert left.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.endswith("\n")
    assert told.err.count("\n") == 1, "one line"
    return told.err.rstrip("\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a", "--membr", "x=y"], "tutti play: unknown flag --membr; did you mean --member?"),
        (["a", "--max_batch_rows=3"], "tutti play: unknown flag --max_batch_rows; did you mean --max-batch-rows?"),
        (["a", "-rate", "3"], "tutti play: unknown flag -rate; did you mean --rate?"),
        (["a", "--strange"], "tutti play: unknown flag --strange; tutti play --help lists them"),
        (["a"], "tutti play: --member is needed"),
        (["--member", "x"], "tutti play: NAME is needed"),
        (["a", "--member"], "tutti play: --member: expected a value"),
        (
            ["a", "--member", "--json"],
            "tutti play: --member: expected a value; one that begins with '-' is written --member=…",
        ),
        (
            ["a", "--member", "-1=no,1=yes"],
            "tutti play: --member: expected a value; one that begins with '-' is written --member=…",
        ),
        (["a", "--member", "x", "--max-batch-rows", "many"],
         "tutti play: --max-batch-rows: 'many' given, expected a whole number"),
        (["a", "--member", "x", "--rate", "fast"], "tutti play: --rate: 'fast' given, expected a number"),
        (["a", "--member", "x", "--rule", "medan"],
         "tutti play: --rule: 'medan' given, expected one of mean, median; did you mean median?"),
        (["a", "--member", "x", "--json=yes"], "tutti play: --json: takes no value"),
        (["a", "b", "--member", "x"], "tutti play: 'b' is one word too many; tutti play --help says what is taken"),
        (["a", "json", "--member", "x"], "tutti play: 'json' is one word too many; did you mean --json?"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_told_in_one_line(
    parser: Parser, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(parser, words, capsys) == told


def test_a_flag_that_is_only_begun_is_not_taken(parser: Parser, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(parser, ["a", "--mem", "x"], capsys) == "tutti play: unknown flag --mem; did you mean --member?"


def test_a_folder_that_belongs_to_no_flag_is_taken_for_the_repository(
    parser: Parser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refusal(parser, ["a", str(tmp_path), "--member", "x"], capsys)
    assert told.endswith(f"did you mean --repository {tmp_path}?")


@pytest.mark.parametrize(
    "words",
    [
        ["--tokn", "s3cret"],
        ["--tokn=s3cret"],
        ["--tok", "s3cret"],
        ["--token", "--s3cret"],
        ["--token", "-s3cret"],
        ["--token", "first", "s3cret"],
        ["s3cret"],
        ["--json=s3cret"],
    ],
)
def test_no_refusal_shows_a_word_that_may_be_a_secret(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="tutti keep")
    parser.add_argument("--token")
    parser.add_argument("--json", action="store_true")
    parser.keep_secret("--token")
    assert "s3cret" not in refusal(parser, words, capsys)


def test_values_that_begin_with_a_dash_are_still_taken(parser: Parser) -> None:
    found = parser.parse_args(["a", "--member=-x", "--rate", "-1.5"])
    assert (found.member, found.rate) == ("-x", -1.5)
    assert parser.parse_args(["--member", "x", "--", "--odd"]).name == "--odd"


def test_each_command_below_tells_of_its_own_flags(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="tutti repo")
    words = parser.add_subparsers(metavar="COMMAND", required=True)
    words.add_parser("list").add_argument("--json", action="store_true")
    assert refusal(parser, ["list", "--jsn"], capsys) == "tutti repo list: unknown flag --jsn; did you mean --json?"
    assert refusal(parser, ["lst"], capsys) == "tutti repo: unknown command 'lst'; there are list; did you mean list?"
    assert refusal(parser, [], capsys) == "tutti repo: COMMAND is needed"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("prot", "; did you mean port?"),
        ("PORT", "; did you mean port?"),
        ("control", "; did you mean control_host or control_port?"),
        ("zebra", ""),
        ("", ""),
    ],
)
def test_the_nearest_name_is_proposed_and_no_far_one(word: str, told: str) -> None:
    assert did_you_mean(word, ["host", "port", "control_host", "control_port"]) == told


def test_a_flag_that_keeps_one_value_is_not_given_twice_where_the_parser_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for once, message in ((True, "--classes: is given twice, and the first would be without effect"), (False, "")):
        parser = Parser(prog="tutti play", once=once)
        parser.add_argument("--classes")
        parser.add_argument("--member", action="append")
        words = ["--member", "a", "--member", "b", "--classes", "a,b", "--classes=c"]
        if once:
            with pytest.raises(SystemExit):
                parser.parse_args(words)
        else:
            assert parser.parse_args(words).classes == "c"
        assert message in capsys.readouterr().err
