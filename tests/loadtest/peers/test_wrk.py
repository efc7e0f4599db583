"""wrk: what it is told, and what is read from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.peers.errors import GeneratorError
from loadtest.peers.wrk import find, parse, script_of

LINE = (
    'figures {"requests":1000,"microseconds":2000000,"p50_us":1500,"p99_us":9000,"max_us":20000,'
    '"status":100,"connect":1,"read":2,"write":3,"timeout":4}'
)


def test_figures_are_found_between_wrks_own_lines() -> None:
    figures = parse(f"Running 2s test @ http://127.0.0.1:1\n  Thread Stats   Avg\n{LINE}\n")
    assert (figures.p50_us, figures.p99_us, figures.max_us) == (1500, 9000, 20000)


def test_refused_requests_are_errors_and_not_throughput() -> None:
    figures = parse(LINE)
    assert figures.rps == 450.0
    assert figures.errors == 100 + 1 + 2 + 3 + 4


@pytest.mark.parametrize("output", ["", "unable to connect to 127.0.0.1:1 Connection refused\n"])
def test_output_without_figures_is_refused_with_what_was_printed(output: str) -> None:
    with pytest.raises(GeneratorError, match="wrk printed no figures") as caught:
        parse(output)
    assert output.strip() in str(caught.value)


def test_damaged_figures_are_refused() -> None:
    with pytest.raises(GeneratorError, match="wrk's figures"):
        parse('figures {"requests":"many"}')


def test_a_missing_wrk_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GeneratorError, match="apt-get install wrk"):
        find(tmp_path)


def test_quotes_and_backslashes_in_headers_and_paths_stay_what_they_are(tmp_path: Path) -> None:
    script = script_of(Path('/a "b"/c\\d'), {'X-"Odd"': "back\\slash"})
    assert '"/a \\"b\\"/c\\\\d"' in script
    assert 'wrk.headers["X-\\"Odd\\""] = "back\\\\slash"' in script
