"""What the real scaling makes of the recorded traces, in simulated time."""

import shutil
from pathlib import Path

import pytest
from bench.scaling import __main__ as program
from bench.scaling import traces
from bench.scaling.simulation import Run, simulate


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {
        name: simulate(traces.read(name), program.scaled(), program.MODEL) for name in traces.SHAPES
    }


@pytest.mark.parametrize("name", traces.SHAPES)
def test_the_recorded_traces_are_what_is_made(name: str) -> None:
    assert traces.read(name) == traces.made(name)


@pytest.mark.parametrize("name", traces.SHAPES)
def test_in_the_end_there_are_enough(runs: dict[str, Run], name: str) -> None:
    assert runs[name].ready[-1] >= runs[name].ideal[-1]


def test_a_step_is_answered_within_moments_and_not_one_at_a_time(runs: dict[str, Run]) -> None:
    run = runs["step"]
    up = [(at, replicas) for at, replicas, _ in run.why if 300 <= at < 600]
    assert len(up) <= 3
    assert up[-1][1] >= 10
    assert up[-1][0] <= 310
    # Of these, ten seconds are the start of a replica.
    assert run.short <= 20


def test_a_spike_is_answered_and_kept_for_five_minutes(runs: dict[str, Run]) -> None:
    run = runs["spike"]
    assert max(run.ready[:650]) >= 20
    assert min(run.ready[650:900]) == max(run.ready)
    assert run.ready[-1] <= 3


def test_load_that_comes_and_goes_keeps_its_replicas(runs: dict[str, Run]) -> None:
    run = runs["on-off"]
    assert run.changes <= 6
    assert min(run.ready[90:]) >= 8


def test_a_sawtooth_keeps_what_its_peaks_need(runs: dict[str, Run]) -> None:
    run = runs["sawtooth"]
    assert run.changes <= 8
    assert not [each for each in run.why if each[0] > 1000]


def test_steady_noise_does_not_flap(runs: dict[str, Run]) -> None:
    run = runs["poisson"]
    late = [each for each in run.why if each[0] > 600]
    assert len(late) <= 1, late


def test_a_ramp_is_followed_in_few_steps(runs: dict[str, Run]) -> None:
    assert runs["ramp"].changes <= 8
    assert runs["ramp"].spent < 1.3


def test_the_page_shows_what_comes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: dict[str, Run]
) -> None:
    copy = Path(shutil.copy(program.PAGE, tmp_path))
    monkeypatch.setattr(program, "PAGE", copy)
    program.main()
    assert copy.read_text() == program.PAGE.read_text()
    for name in runs:
        written = copy.with_suffix("") / f"{name}.svg"
        kept = Path(program.__file__).parents[2] / "docs" / "scaling" / f"{name}.svg"
        assert written.read_text() == kept.read_text(), "python -m bench.scaling"
