"""Servers of weights: what they take of workers that are late, die or come back, and what becomes of every batch."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from exporter.errors import TrainingError
from exporter.optimisation.asynchronous.layout import Layout
from exporter.optimisation.asynchronous.lease_table import LeaseTable
from exporter.optimisation.asynchronous.leases import Leases
from exporter.optimisation.asynchronous.local_servers import LocalServers
from exporter.optimisation.asynchronous.pushing import ParameterServerExchange
from exporter.optimisation.asynchronous.shard import Shard
from exporter.optimisation.loop import Exchange, Loop
from exporter.optimisation.run import optimise
from exporter.optimisation.spec import ParameterServer
from tests.exporter.optimisation.in_process import local_servers, trained_by_threads
from tests.exporter.optimisation.problems import SIZES, accuracy, network, problem

STEPS = 3 * len(SIZES)


def test_a_batch_is_handed_out_once_and_again_where_its_holder_is_silent_or_gone() -> None:
    leases = Leases(stall_s=10)
    leases.open(0, 2)
    leases.open(0, 5)  # a second worker's word for it
    assert (leases.take("a", 0.0), leases.take("b", 1.0), leases.take("c", 2.0)) == ((0, 0), (0, 1), None)
    assert leases.next_expiry() == 10.0
    assert leases.take("c", 10.5) == (0, 0)
    assert leases.release("b") == 1
    assert leases.take("c", 10.6) == (0, 1)
    assert [leases.finish((0, 0)), leases.finish((0, 0)), leases.finish((0, 1))] == [True, False, True]
    assert leases.left() == 0


def test_no_batch_of_a_later_epoch_is_handed_out_and_one_left_behind_comes_first() -> None:
    leases = Leases(stall_s=10)
    leases.open(0, 1)
    leases.open(1, 1)
    assert leases.take("a", 0.0, last=0) == (0, 0)
    assert leases.take("b", 0.0, last=0) is None
    leases.release("a")
    assert leases.take("b", 0.0, last=1) == (0, 0)
    assert (leases.left(), leases.left(0)) == (2, 1)


def test_what_a_restored_server_forgot_is_done_again() -> None:
    table = LeaseTable(stall_s=10)
    table.started(0, 11, {})
    table.open(0, 0, 3)
    for _ in range(2):
        batch = table.take(0, "a", 0, last=True)
        assert batch is not None
        assert table.finish(0, batch, [11])
    late = table.take(0, "a", 0, last=True)
    table.started(0, 12, {0: [(0, 0)]})
    assert late == (0, 2)
    assert not table.finish(0, late, [11]), "the server that took it is not there any more"
    assert [table.take(0, "b", 0, last=True) for _ in range(2)] == [(0, 1), (0, 2)]
    assert (table.restored, table.left(0)) == (1, 2)


def test_whoever_waits_for_a_batch_gets_one_when_another_worker_is_gone() -> None:
    table = LeaseTable(stall_s=100)
    table.open(0, 0, 1)
    assert table.take(0, "a", 0, last=True) == (0, 0)
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(table.take(0, "b", 0, last=True)))
    waiting.start()
    table.release("a")
    waiting.join(10)
    assert found == [(0, 0)]
    assert table.take(0, "a", 0, last=True) is None, "it was given up"


def shard(staleness: int, *, scale: bool, module: nn.Module) -> Shard:
    """The network's whole parameters."""
    found = Layout(Loop(problem(module), Exchange(), lambda *_: None), 1)
    return Shard(found.weights()[0], found.pieces()[0], found.plan, staleness, scale_by_staleness=scale)


def test_a_gradient_moves_the_weights_once_and_not_at_all_where_it_is_too_stale() -> None:
    held = shard(1, scale=True, module=network())
    gradient = np.ones_like(held.weights())
    assert held.push((0, 0), gradient, [], 0).verdict == "taken"
    moved = held.weights()
    assert held.push((0, 0), gradient, [], 1).verdict == "known"
    assert np.array_equal(held.weights(), moved)
    assert held.push((0, 1), gradient, [], 0).verdict == "taken"
    assert (held.push((0, 2), gradient, [], 0).verdict, held.version) == ("stale", 2)
    assert held.push((0, 2), gradient, [], 3).verdict == "stale", "of weights that the server does not know"


def test_the_rate_falls_with_staleness() -> None:
    ways = []
    for base in (3, 0):
        held = shard(4, scale=True, module=network())
        for number in range(3):
            held.push((0, number), np.zeros_like(held.weights()), [], number)
        before = held.weights()
        held.push((0, 3), np.ones_like(before), [], base)
        ways.append(np.abs(held.weights() - before).max())
    assert ways[1] == pytest.approx(ways[0] / 4, rel=1e-3)


def test_a_shard_goes_on_from_its_state_to_the_same_bits() -> None:
    draw = np.random.default_rng(2)
    first, second = (shard(9, scale=True, module=network()) for _ in range(2))
    gradients = draw.normal(size=(6, len(first.weights()))).astype(np.float32)
    for number in range(3):
        first.push((0, number), gradients[number], [], number)
    second.restore(first.state())
    for number in range(3, 6):
        for held in (first, second):
            held.push((0, number), gradients[number], [], number)
    assert np.array_equal(first.weights(), second.weights())
    assert second.applied == {(0, number) for number in range(6)}


@pytest.mark.parametrize("servers", [1, 3])
def test_one_worker_and_its_servers_do_what_one_process_does(tmp_path: Path, servers: int) -> None:
    alone, module = network(), network()
    optimise(problem(alone, noise=0.0))
    trained_by_threads(ParameterServer(workers=1, servers=servers), tmp_path, [problem(module, noise=0.0)])
    for (name, entry), other in zip(alone.named_parameters(), module.parameters(), strict=True):
        assert torch.allclose(entry, other, rtol=0, atol=1e-6), name


def test_workers_do_every_batch_once_and_end_with_the_same_network(tmp_path: Path) -> None:
    modules = [network() for _ in range(3)]
    before = accuracy(network())
    table, servers, exchanges = trained_by_threads(
        ParameterServer(servers=2, staleness=3), tmp_path, [problem(module) for module in modules]
    )
    assert table.applied == STEPS
    for server in servers.all:
        assert len(server.applied()[0]) == STEPS
        assert server.figures().taken == STEPS
        assert max(server.figures().staleness) <= 3
    assert all(exchange.exchanged.bytes == 0 for exchange in exchanges), "nothing leaves this process"
    for module in modules[1:]:
        for (name, entry), other in zip(modules[0].state_dict().items(), module.state_dict().values(), strict=True):
            assert torch.equal(entry, other), name
    assert accuracy(modules[0]) > before + 0.2


def test_a_worker_that_fails_costs_nothing(tmp_path: Path) -> None:
    def failing(loss: Tensor, step: int) -> Tensor:
        if step == 3:
            raise RuntimeError("killed")
        return loss

    module = network()
    table, servers, _ = trained_by_threads(
        ParameterServer(), tmp_path, [problem(module), problem(network(), spoil=failing)]
    )
    assert table.applied == STEPS
    assert len(servers.all[0].applied()[0]) == STEPS


def test_a_server_that_dies_goes_on_from_what_it_kept(tmp_path: Path) -> None:
    half, restarted = threading.Event(), threading.Event()

    def pausing(loss: Tensor, step: int) -> Tensor:
        if step == STEPS // 2:
            half.set()
            assert restarted.wait(30)
        return loss

    def killed(_: LeaseTable, servers: LocalServers) -> None:
        assert half.wait(30)
        servers.restart(1)
        restarted.set()

    module = network()
    table, servers, _ = trained_by_threads(
        ParameterServer(workers=1, servers=2, keep_every=5), tmp_path, [problem(module, spoil=pausing)], killed
    )
    assert table.restored == 1
    assert table.left(0) == 0
    assert table.applied > STEPS, "some were done again"
    assert [len(server.applied()[0]) for server in servers.all] == [STEPS, STEPS]
    assert accuracy(module) > 0.7


def test_a_figure_that_one_worker_reaches_ends_the_training_of_all(tmp_path: Path) -> None:
    modules = [network(), network()]
    table, _, _ = trained_by_threads(
        ParameterServer(), tmp_path, [problem(module, epochs=40, stop_at=0.5) for module in modules]
    )
    assert 0 < table.applied < 20 * len(SIZES)
    assert all(torch.equal(*pair) for pair in zip(modules[0].parameters(), modules[1].parameters(), strict=True))


def test_a_loss_that_is_not_finite_never_reaches_a_server(tmp_path: Path) -> None:
    def spoil(loss: Tensor, step: int) -> Tensor:
        return loss * torch.nan if step == 10 else loss

    with pytest.raises(TrainingError, match=r"^the loss is nan in batch 2 of epoch 2$"):
        trained_by_threads(ParameterServer(workers=1), tmp_path, [problem(network(), spoil=spoil)])


def test_more_workers_than_rows_are_refused(tmp_path: Path) -> None:
    servers = local_servers(ParameterServer(), tmp_path, LeaseTable(1))

    exchange = ParameterServerExchange(0, 41, LeaseTable(1), servers)
    with pytest.raises(TrainingError, match=r"^41 workers for 40 rows, expected a row for each$"):
        exchange.begin(Loop(problem(network()), exchange, lambda *_: None))
