"""Reading pauses the search for garbage, and leaves it as it found it."""

import gc

import pytest

from trunkline.collector import collector_paused
from trunkline.errors import InvalidModel
from trunkline.ingest.read import read

pytestmark = pytest.mark.properties


@pytest.fixture(autouse=True)
def collector_as_before():
    was = gc.isenabled()
    yield
    (gc.enable if was else gc.disable)()


@pytest.mark.parametrize("enabled", [True, False])
def test_reading_leaves_the_collector_as_it_was(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    read("zoo:tiny")
    assert gc.isenabled() == enabled
    with pytest.raises(InvalidModel):
        read("there is no such file")
    assert gc.isenabled() == enabled


def test_pauses_may_be_nested() -> None:
    """The collector is paused inside, also where pauses are nested."""
    gc.enable()
    with collector_paused():
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
