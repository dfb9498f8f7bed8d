"""One fit of made-up outcomes for all who only look at it."""

from pathlib import Path

import pytest

from bench.routing.fit import Router, fit
from bench.routing.outcomes import Outcomes, load_folder
from tests.bench_routing import made_up


@pytest.fixture(scope="session")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.folder(tmp_path_factory.mktemp("routing") / "train", seed=1)


@pytest.fixture(scope="session")
def test_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.folder(tmp_path_factory.mktemp("routing") / "test", seed=2)


@pytest.fixture(scope="session")
def sets(train: Path) -> dict[str, Outcomes]:
    return load_folder(train)


@pytest.fixture(scope="session")
def router(sets: dict[str, Outcomes]) -> Router:
    return fit(sets)
