"""Switches the instruction set in this process."""

from contextlib import contextmanager

from fastln import _core


def supported():
    """The names of the instruction sets that can run here."""
    return [name for name, compiled, supported in _core._isas() if compiled and supported]


@contextmanager
def using(name):
    """Makes `name` the active instruction set, and checks at the end that nothing else took its place."""
    before = _core._active_isa()
    _core._select_isa(name)
    try:
        assert _core._active_isa() == name
        yield
        assert _core._active_isa() == name
    finally:
        _core._select_isa(before)
