"""Which trials run again, and with which others, after a worker died or raised."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hill_sim.engine.results import TrialResult
from hill_sim.errors import InvalidInput
from hill_sim.sweep.executors.base import Batch, BatchEnded, WorkerCrash
from hill_sim.sweep.executors.retries import DEATHS, HOPELESS, Retries, in_words
from hill_sim.trial import Trial


def batch(size: int, first: int = 0) -> Batch:
    return Batch(tuple(Trial(seed=seed) for seed in range(first, first + size)), {"backend": "bmm"})


def run(retries: Retries, given: Batch, deadly: set[int], raising: set[int]) -> tuple[list[int], list[TrialResult]]:
    """The seeds of the trials that ended well, and the results of those that were given up."""
    well: list[int] = []
    given_up: list[TrialResult] = []
    part: Batch | None = given
    while part is not None:
        seeds = [trial.seed for trial in part.trials]
        ended: BatchEnded | None = None
        if deadly & set(seeds):
            ended = retries.died(part, "exit status 3")
        elif raising & set(seeds):
            ended = retries.raised(part, "Traceback\nRuntimeError: no")
        else:
            retries.done()
            well += seeds
        given_up += ended.results if ended else []
        part = retries.next()
    return well, given_up


@given(st.integers(1, 80), st.sets(st.integers(0, 79), max_size=4), st.sets(st.integers(0, 79), max_size=4))
def test_each_trial_ends_once_and_only_the_bad_ones_fail(size: int, deadly: set[int], raising: set[int]) -> None:
    deadly, raising = ({seed for seed in some if seed < size} for some in (deadly, raising - deadly))
    well, given_up = run(Retries(), batch(size), deadly, raising)
    assert sorted(well) == sorted(set(range(size)) - deadly - raising)
    assert sorted(result.trial.seed for result in given_up) == sorted(deadly | raising)
    for result in given_up:
        assert result.outcome.status == "failed"
        assert result.outcome.key == result.trial.key
        expected = "workers died over this trial" if result.trial.seed in deadly else "RuntimeError: no"
        assert expected in result.outcome.error


def test_the_third_death_names_the_trial() -> None:
    retries, sizes = Retries(), []
    part: Batch | None = batch(64)
    ended = None
    while part is not None:
        if 40 in [trial.seed for trial in part.trials]:
            sizes.append(len(part.trials))
            ended = retries.died(part, "exit status 3")
        part = retries.next()
    assert sizes == [64, 8, 1]
    assert ended is not None
    assert ended.results[0].outcome.error == f"{DEATHS} workers died over this trial, the last one exit status 3"


def test_workers_that_all_die_end_the_sweep() -> None:
    with pytest.raises(WorkerCrash, match=rf"{HOPELESS} trials cost 3 workers each, .* and none"):
        run(Retries(), batch(HOPELESS), set(range(HOPELESS)), set())
    some = Retries()
    some.done()
    assert len(run(some, batch(HOPELESS), set(range(HOPELESS)), set())[1]) == HOPELESS


def test_a_mistake_of_the_users_is_raised_if_no_trial_can_be_run() -> None:
    mistake = InvalidInput("task: no file digits.csv")
    with pytest.raises(InvalidInput, match="no file"):
        Retries().raised(batch(1), "Traceback", mistake)
    some = Retries()
    some.done()
    ended = some.raised(batch(1), "Traceback\nInvalidInput: model: no", mistake)
    assert ended is not None
    assert ended.results[0].outcome.error.endswith("InvalidInput: model: no")


def test_what_happened_is_no_fault_of_the_batch() -> None:
    retries, given_batch = Retries(), batch(4)
    retries.again(given_batch)
    assert retries.next() is given_batch
    assert retries.next() is None


def test_exit_statuses_in_words() -> None:
    assert in_words(3) == "exit status 3"
    assert in_words(-signal.SIGKILL) == "killed by SIGKILL, out of memory?"
    assert in_words(-signal.SIGSEGV) == "killed by SIGSEGV"
