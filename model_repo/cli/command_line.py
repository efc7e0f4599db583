"""The parser of every command: a wrong call gets one line that says what was given, what fits, and the nearest."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from model_repo.wording import did_you_mean, shortened

_FLAG = re.compile(r"-[A-Za-z]|--[^\s-]")
_LIST = re.compile(r"-[\d.]+[^\d.\s]\S*$")
"""A value such as -1,0,1 or -1=no: no number, and no flag, but begins as one."""
_WORDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"invalid int value: (.*)"), r"\1 given, expected a whole number"),
    (re.compile(r"invalid float value: (.*)"), r"\1 given, expected a number"),
    (re.compile(r"invalid \w+ value: (.*)"), r"\1 cannot be used"),
    (re.compile(r"expected one argument"), r"expected a value"),
    (re.compile(r"ignored explicit argument .*"), r"takes no value"),
    (re.compile(r"not allowed with argument (.*)"), r"does not go with \1"),
    (re.compile(r"the following arguments are required: (.*)"), r"\1 is needed"),
    (re.compile(r"one of the arguments (\S+) (\S+) is required"), r"\1 or \2 is needed"),
)
"""argparse's wording → ours."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that takes no abbreviations of flags and whose errors are one line, with exit status 2.

    An unknown flag is told before anything else, without its value: it may be a misspelt one of a secret. With `once`
    a flag that keeps one value only is refused when it comes again, as the first would be without effect.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)
        self._once: bool = options.pop("once", False)
        super().__init__(*arguments, **options)
        self._secrets: set[str] = set()

    def keep_secret(self, flag: str) -> None:
        """Never print the value of `flag`, nor a stray word that could be one."""
        self._secrets.add(flag)

    def parse_known_args(  # type: ignore[override]  # the library's overloads say no more
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As in the library, but that nothing may be left over: each command tells of its own words."""
        if args is not None and self._subparsers is None:
            self._check_flags(args)
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(self._stray(rest[0]))
        return found, rest

    def _check_flags(self, words: Sequence[str]) -> None:
        """End with the first word that looks like a flag and is none, or that stands where a value should."""
        needy = ""  # the flag whose value comes next
        given: set[str] = set()
        for word in words:
            if word == "--":
                return
            flag, equals, _ = word.partition("=")
            looks_like_one = _FLAG.match(word) is not None and not any(sign.isspace() for sign in flag)
            if needy and (looks_like_one or _LIST.match(word)):
                self.error(f"argument {needy}: expected a value; one that begins with '-' is written {needy}=…")
            if looks_like_one and flag not in self._option_string_actions:
                self.error(self._unknown(flag))
            action = self._option_string_actions.get(flag) if looks_like_one else None
            keeps_one = self._once and type(action) is argparse._StoreAction
            if action is not None and keeps_one and action.dest in given:
                self.error(f"{flag}: is given twice, and the first would be without effect; give it once")
            given.update([action.dest] if action is not None else [])
            needy = flag if action is not None and action.nargs is None and not equals else ""

    def _unknown(self, flag: str) -> str:
        known = [name for name in self._option_string_actions if name.startswith("--")]
        spelt = "--" + flag.lstrip("-").replace("_", "-")
        return f"unknown flag {flag}" + (did_you_mean(spelt, known) or self._way_out("lists them"))

    def _stray(self, word: str) -> str:
        """What is said of a word too many; where it may be part of a secret, not the word."""
        if self._secrets and not os.path.lexists(word):
            return "a word that belongs to no flag" + self._way_out("lists them")
        if "--repository" in self._option_string_actions and os.path.isdir(word):
            return f"{shortened(word)} belongs to no flag; did you mean --repository {word}?"
        way_out = f"; did you mean --{word}?" if f"--{word}" in self._option_string_actions else None
        return f"{shortened(word)} is one word too many" + (way_out or self._way_out("says what is taken"))

    def _way_out(self, what: str) -> str:
        return f"; {self.prog} --help {what}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        given = shortened(str(value))
        told = f"unknown command {given}; there are" if _chooses_command(action) else f"{given} given, expected one of"
        raise argparse.ArgumentError(action, f"{told} {', '.join(known)}{did_you_mean(str(value), known)}")

    def error(self, message: str) -> NoReturn:
        """Print the message in one line and leave with status 2."""
        for pattern, words in _WORDS:
            message = pattern.sub(words, message)
        subject, colon, rest = message.removeprefix("argument ").partition(": ")
        if colon and rest.startswith("unknown command"):
            subject, colon = "", ""
        shown = " ".join(f"{subject}{colon}{rest}".split())
        self.exit(2, f"{self.prog}: {shown}\n")


def _chooses_command(action: argparse.Action) -> bool:
    return isinstance(action, argparse._SubParsersAction)  # the library's only name for it
