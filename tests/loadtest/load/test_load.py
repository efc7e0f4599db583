"""Real runs against a scripted server: every request has one fate, and latency counts from when it was due."""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import replace

import pytest

from loadtest import Options, Report, Run, TargetError, build, plan, run
from loadtest.load.outcome import Outcome
from tests.loadtest.samples import of_the_server
from tests.loadtest.scripted_server import Answer, Request, Script, ScriptedServer

QUICK = Options(url="", duration_s=0.6, warmup_s=0.0, rate=100.0, process="constant", timeout_s=20.0)


def load(server: ScriptedServer, options: Options = QUICK) -> tuple[Run, Report]:
    result = run(plan(replace(options, url=server.url)))
    return result, build(result)


def after_the_first(script: Script) -> Script:
    """`script` for all requests but the first, which only finds out whether the server answers at all."""
    return lambda request: script(replace(request, number=request.number - 1)) if request.number else Answer()


def test_every_due_request_is_sent_once_and_answered() -> None:
    with ScriptedServer(lambda request: Answer()) as server:
        _, report = load(server)
    assert report.requests == 59  # at 0.01 … 0.59 s
    assert len(server.requests) == 60
    assert report.outcomes["ok"].count == 59
    assert report.versions == {"1": 59}
    assert of_the_server(report) == []


def test_the_bodies_differ_and_are_valid_for_the_ensemble() -> None:
    with ScriptedServer(lambda request: Answer()) as server:
        load(server, replace(QUICK, rows=2))
    bodies = {request.body for request in server.requests}
    assert len(bodies) > 10
    assert all(b'"shape":[2,2,3]' in body for body in bodies)


def test_a_known_latency_is_reported() -> None:
    slow_quarter = after_the_first(lambda request: Answer(delay_s=0.2 if request.number % 4 == 3 else 0))
    with ScriptedServer(slow_quarter) as server:
        _, report = load(server)
    assert report.latency.p90_ms is not None
    assert report.latency.p90_ms >= 200
    assert report.latency.max_ms is not None
    assert report.latency.max_ms >= report.latency.p90_ms


def test_a_stall_is_seen_by_every_request_that_was_due_in_it() -> None:
    """One answer takes a second on the only connection: the fifty requests behind it waited too."""
    slow_first = after_the_first(lambda request: Answer(delay_s=1.0 if request.number == 0 else 0))
    with ScriptedServer(slow_first) as server:
        result, report = load(server, replace(QUICK, rate=50.0, duration_s=1.2, connections=1))
    assert report.requests == 59
    assert (result.sample.latency >= 0.5).sum() >= 24
    assert report.latency.p50_ms is not None
    assert report.latency.p50_ms >= 200


def test_a_closed_loop_does_not_see_the_same_stall() -> None:
    """The contrast: the clients wait, so only one of each is slow. The report says that latency is from sending."""
    slow_first = after_the_first(lambda request: Answer(delay_s=0.5 if request.number == 0 else 0))
    with ScriptedServer(slow_first) as server:
        result, report = load(server, replace(QUICK, rate=None, connections=1, duration_s=0.8))
    assert report.loop == "closed"
    assert report.arrivals is None
    first, *others = result.sample.latency.tolist()
    assert first >= 0.5
    assert len(others) >= 1


def test_a_closed_loop_has_one_request_in_flight_for_each_connection() -> None:
    in_flight: Counter[int] = Counter()
    with ScriptedServer(lambda request: Answer(delay_s=0.01)) as server:
        result, report = load(server, replace(QUICK, rate=None, connections=4, duration_s=0.3))
    for request in server.requests[1:]:
        in_flight[request.connection] += 1
    assert len(in_flight) == 4
    assert report.requests == sum(in_flight.values())
    assert set(result.sample.connection.tolist()) == {0, 1, 2, 3}


SCRIPTS: dict[str, Answer] = {
    "degraded": Answer(degraded=True),
    "refused": Answer(503, b'{"error": "queue is full"}'),
    "rate_limited": Answer(429, b'{"error": "slow down"}'),
    "deadline": Answer(504, b'{"error": "too late"}'),
    "client_error": Answer(422, b'{"error": "inputs[0]: wrong shape"}'),
    "server_error": Answer(500, b'{"error": "internal error"}'),
    "connection": Answer(reset=True),
    "timeout": Answer(silent=True),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_outcome_is_counted_and_explained(name: str) -> None:
    with ScriptedServer(after_the_first(lambda request: SCRIPTS[name] if request.number % 2 else Answer())) as server:
        result, report = load(server, replace(QUICK, timeout_s=0.5 if name == "timeout" else 20.0))
    assert report.outcomes["ok"].count == 30
    assert report.outcomes[name].count == 29
    assert sum(outcome.count for outcome in report.outcomes.values()) == report.requests == len(result.sample)
    if name == "degraded":
        assert of_the_server(report) == []
        assert report.latency.count == 59
    else:
        assert not report.passed
        assert report.latency.count == 30
        (problem,) = of_the_server(report)
        assert problem.startswith(f"29 of 59 requests: {name} (")
        assert report.examples[name] in problem


def test_a_request_that_times_out_has_waited_that_long() -> None:
    with ScriptedServer(after_the_first(lambda request: Answer(silent=True))) as server:
        result, report = load(server, replace(QUICK, timeout_s=0.3))
    assert report.outcomes["timeout"].count == 59
    assert (result.sample.latency >= 0.3).all()
    assert "no request was answered" in report.problems


def test_requests_that_never_get_a_connection_time_out_too() -> None:
    with ScriptedServer(after_the_first(lambda request: Answer(silent=True))) as server:
        result, report = load(server, replace(QUICK, rate=1000.0, timeout_s=0.3, connections=2))
    assert report.outcomes["timeout"].count == 599
    assert (result.sample.connection == -1).any()


def test_answers_that_close_the_connection_are_answers() -> None:
    with ScriptedServer(lambda request: Answer(close=True)) as server:
        _, report = load(server)
    assert of_the_server(report) == []
    assert report.outcomes["ok"].count == 59
    assert server.connections >= 59


def test_a_server_that_goes_away_is_reported_and_the_run_ends() -> None:
    with ScriptedServer(lambda request: Answer()) as server:
        chosen = plan(replace(QUICK, url=server.url))

        def leave_after_twenty(request: Request) -> Answer:
            if request.number == 20:
                server.leave()
            return Answer()

        server.script = leave_after_twenty
        report = build(run(chosen))
    assert report.outcomes["connection"].count >= 30
    assert report.outcomes["ok"].count + report.outcomes["connection"].count == 59
    assert not report.passed


def test_a_closed_loop_ends_when_the_server_goes_away() -> None:
    with ScriptedServer(lambda request: Answer()) as server:
        chosen = plan(replace(QUICK, url=server.url, rate=None, connections=3, duration_s=0.5))

        def leave_after_twenty(request: Request) -> Answer:
            if request.number == 20:
                server.leave()
            return Answer()

        server.script = leave_after_twenty
        report = build(run(chosen))
    assert report.outcomes["connection"].count >= 3
    assert not report.passed


def test_a_warm_up_is_not_in_the_figures_but_its_failures_are_told() -> None:
    fail_early = after_the_first(lambda request: Answer(500, b"oh") if request.number < 5 else Answer())
    with ScriptedServer(fail_early) as server:
        result, report = load(server, replace(QUICK, warmup_s=0.3))
    assert set(report.outcomes) == {"ok"}
    warmup = len(result.sample) - report.requests
    assert warmup >= 28
    assert of_the_server(report) == [f"5 of {warmup} requests during the warm-up: server_error (500: oh)"]


def test_a_ramp_reports_each_step() -> None:
    with ScriptedServer(lambda request: Answer()) as server:
        _, report = load(server, replace(QUICK, scenario="ramp", rate=200.0, duration_s=1.6))
    assert [phase.offered_rps for phase in report.phases] == [25, 50, 75, 100, 125, 150, 175, 200]
    assert [sum(phase.outcomes.values()) for phase in report.phases] == pytest.approx(
        [5, 10, 15, 20, 25, 30, 35, 40], abs=1
    )


def test_an_overload_measures_the_capacity_and_allows_refusals() -> None:
    def refuse_most(request: Request) -> Answer:
        return Answer(503) if request.at > 0.5 and request.number % 5 else Answer(delay_s=0.1)

    with ScriptedServer(after_the_first(refuse_most)) as server:
        _, report = load(server, replace(QUICK, scenario="overload", rate=None, duration_s=1.2))
    capacity, overload = report.phases
    assert capacity.offered_rps is None
    assert overload.offered_rps == pytest.approx(5 * capacity.latency.count / 0.3)
    assert "refused" in report.outcomes
    assert of_the_server(report) == []


def test_a_soak_reports_its_parts() -> None:
    with ScriptedServer(lambda request: Answer()) as server:
        _, report = load(server, replace(QUICK, scenario="soak"))
    assert [phase.name for phase in report.phases] == [f"part {number}" for number in range(1, 11)]


def test_the_binary_protocol_is_spoken_when_asked_for() -> None:
    head = Answer(version="4").content()
    answer = Answer(body=head + b"\x00" * 8, headers=(("Inference-Header-Content-Length", str(len(head))),))
    with ScriptedServer(lambda request: answer) as server:
        _, report = load(server, replace(QUICK, protocol="binary"))
    assert report.versions == {"4": 59}
    assert all(b"inference-header-content-length" in request.headers for request in server.requests)


def test_without_a_name_the_only_ensemble_is_taken() -> None:
    with ScriptedServer(lambda request: Answer(), names=("irises",)) as server:
        assert load(server)[1].ensemble == "irises"


@pytest.mark.parametrize(
    ("names", "ensemble", "said"),
    [
        (("a", "b"), None, "it serves a, b; name one with --ensemble"),
        ((), None, "it serves none"),
        (("a",), "b", "ensemble 'b': 404: ensemble 'b' is unknown"),
    ],
)
def test_an_ensemble_that_cannot_be_loaded_is_told(names: tuple[str, ...], ensemble: str | None, said: str) -> None:
    with ScriptedServer(lambda request: Answer(), names=names) as server, pytest.raises(TargetError, match=said):
        load(server, replace(QUICK, ensemble=ensemble))


def test_a_first_request_that_fails_ends_the_test_before_it_begins() -> None:
    refused = Answer(422, b'{"error": "inputs[0].shape: [1, 2, 3] is not [-1, 64]"}')
    with ScriptedServer(lambda request: refused) as server, pytest.raises(TargetError, match=r"not \[-1, 64\]"):
        load(server)


def test_a_server_that_is_not_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TargetError, match=f"127.0.0.1:{port}: cannot connect"):
        run(plan(replace(QUICK, url=f"http://127.0.0.1:{port}")))


def test_outcome_numbers_are_those_of_the_record() -> None:
    assert [outcome.value for outcome in Outcome] == list(range(9))
