"""A place for what the SDK records."""

from collections.abc import Iterator

import pytest

from tests.support.recording import Recording, recording


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording() as made:
        yield made
