"""Producers and trainers, a queue between them: every row once an epoch, whoever dies, and no more than fits."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from exporter.optimisation.asynchronous.batch_queue import BatchQueue
from exporter.optimisation.asynchronous.dataflow import ProducerExchange, TrainerExchange
from exporter.optimisation.loop import Exchange
from exporter.optimisation.problem import Problem
from exporter.optimisation.run import Run, optimise, training_in
from exporter.optimisation.spec import Dataflow
from tests.exporter.optimisation.in_process import local_servers
from tests.exporter.optimisation.problems import ROWS, SIZES, accuracy, network, problem

STEPS = 3 * len(SIZES)
Spoil = Callable[[Tensor, int], Tensor]


@dataclass
class Flow:
    """One job's queue, and the networks of all who take part."""

    queue: BatchQueue
    producers: list[torch.nn.Module] = field(default_factory=list)
    trainers: list[torch.nn.Module] = field(default_factory=list)


def flowing(
    technique: Dataflow,
    folder: Path,
    spoil: Spoil = lambda loss, _: loss,
    dies: Callable[[Exchange, Problem], Problem] = lambda _, found: found,
    noise: float = 0.0,
) -> Flow:
    """All in threads of their own. `spoil` is of trainers' losses; `dies` may change what somebody works on."""
    queue = BatchQueue(technique.stall_s, technique.queue_batches)
    servers = local_servers(technique, folder, queue)
    flow = Flow(queue)
    exchanges: list[ProducerExchange | TrainerExchange] = [
        *(ProducerExchange(rank, queue) for rank in range(technique.producers)),
        *(TrainerExchange(rank, technique.workers, queue, servers) for rank in range(technique.workers)),
    ]

    def work(exchange: ProducerExchange | TrainerExchange, module: torch.nn.Module) -> None:
        given = dies(exchange, problem(module, spoil=spoil, noise=noise))
        try:
            with training_in(Run(exchange)):
                optimise(given)
        except Killed:
            queue.release(exchange.name)

    threads = []
    for exchange in exchanges:
        module = network()
        (flow.producers if isinstance(exchange, ProducerExchange) else flow.trainers).append(module)
        threads.append(threading.Thread(target=work, args=(exchange, module)))
        threads[-1].start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "somebody waits for ever"
    return flow


class Killed(Exception):
    """Stands for a process that is gone."""


def test_one_producer_and_one_trainer_do_what_one_process_does(tmp_path: Path) -> None:
    alone = network()
    optimise(problem(alone, noise=0.0))
    flow = flowing(Dataflow(), tmp_path)
    for (name, entry), other in zip(alone.named_parameters(), flow.trainers[0].parameters(), strict=True):
        assert torch.allclose(entry, other, rtol=0, atol=1e-6), name
    for name, entry in flow.trainers[0].state_dict().items():
        assert torch.equal(entry, flow.producers[0].state_dict()[name]), name
    assert flow.queue.fullness().put == flow.queue.applied == STEPS


def test_every_row_is_trained_on_once_an_epoch_also_where_a_producer_dies(tmp_path: Path) -> None:
    seen: Counter[int] = Counter()

    def dies(exchange: Exchange, found: Problem) -> Problem:
        made = 0

        def prepare(index: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
            nonlocal made
            made += 1
            if isinstance(exchange, ProducerExchange) and exchange.rank == 0 and made == 3:
                raise Killed
            return index, *plain(index, generator)

        def loss(module: torch.nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
            if module.training:
                seen.update(batch[0].tolist())
            return whole(module, batch[1:])

        plain, whole = found.prepare, found.loss
        return replace(found, prepare=prepare, loss=loss, logits=None, plain=None)

    flow = flowing(Dataflow(producers=2, queue_batches=2), tmp_path, dies=dies)
    assert seen == dict.fromkeys(range(ROWS), 3)
    assert flow.queue.applied == STEPS


def test_several_trainers_go_together_and_one_that_dies_costs_nothing(tmp_path: Path) -> None:
    def dies(exchange: Exchange, found: Problem) -> Problem:
        steps, whole = 0, found.loss

        def loss(module: torch.nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
            nonlocal steps
            if isinstance(exchange, TrainerExchange) and exchange.rank == 1:
                steps += 1
                if steps == 4:
                    raise Killed
            return whole(module, batch)

        return replace(found, loss=loss)

    flow = flowing(Dataflow(workers=2, producers=2, staleness=3), tmp_path, dies=dies, noise=0.1)
    assert flow.queue.applied == STEPS
    assert accuracy(flow.trainers[0]) > accuracy(network()) + 0.2


def test_a_queue_holds_no_more_than_it_may_with_producers_ten_times_as_fast_as_the_trainer(tmp_path: Path) -> None:
    made, trained = 0.002, 0.02

    def slow(loss: Tensor, _: int) -> Tensor:
        time.sleep(trained)
        return loss

    def paced(exchange: Exchange, found: Problem) -> Problem:
        plain = found.prepare

        def prepare(index: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
            time.sleep(made if isinstance(exchange, ProducerExchange) else 0.0)
            return plain(index, generator)

        return replace(found, prepare=prepare)

    technique = Dataflow(producers=1, queue_batches=3)
    fullness = flowing(technique, tmp_path, spoil=slow, dies=paced).queue.fullness()
    assert fullness.batches == 3
    largest = sum(sorted(SIZES)[-3:]) * (16 * 4 + 8)
    assert 0 < fullness.bytes <= largest


def test_a_producer_that_dies_while_it_waits_puts_nothing_into_a_full_queue() -> None:
    queue = BatchQueue(stall_s=60.0, most=1)
    queue.open(0, 0, 2)
    arrays = (np.zeros(3, dtype=np.float32),)
    for producer in ("first", "second"):
        assert queue.take(0, producer, 0, last=True) is not None
    assert queue.put(0, "first", (0, 0), arrays)
    let_in: list[bool] = []
    waiting = threading.Thread(target=lambda: let_in.append(queue.put(0, "second", (0, 1), arrays)))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    queue.release("second")
    waiting.join(10)
    assert let_in == [False]
    assert queue.fullness().batches == 1
    assert queue.take(0, "first", 0, last=True) == (0, 1), "another makes it again"


def test_a_batch_that_two_producers_made_is_trained_on_once() -> None:
    queue = BatchQueue(stall_s=0.0, most=5)
    queue.open(0, 0, 1)
    arrays = [np.zeros(2)]
    assert queue.take(0, "producer 1", 0, last=True) == (0, 0)
    assert queue.take(0, "producer 2", 0, last=True) == (0, 0), "the first was too slow"
    assert queue.put(0, "producer 1", (0, 0), arrays) is False, "it is another's by now"
    assert queue.put(0, "producer 2", (0, 0), arrays)
    assert not queue.put(0, "producer 2", (0, 0), arrays)
    found = queue.get(0, "trainer 1", 0, last=True)
    assert found is not None
    assert queue.finish(0, found[0])
    assert queue.get(0, "trainer 1", 0, last=True) is None
    assert queue.fullness().dropped == 2


def test_who_waits_with_a_batch_for_room_is_let_go_when_the_training_ends() -> None:
    queue = BatchQueue(stall_s=10, most=1)
    queue.open(0, 0, 2)
    for _ in range(2):
        assert queue.take(0, "producer 1", 0, last=True) is not None
    queue.put(0, "producer 1", (0, 0), [])
    found: list[bool] = []
    waiting = threading.Thread(target=lambda: found.append(queue.put(0, "producer 1", (0, 1), [])))
    waiting.start()
    queue.publish(0, {"w": np.ones(1)})
    waiting.join(10)
    assert found == [False]
    assert queue.published(0)["w"] == 1
