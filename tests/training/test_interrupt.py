"""Signals between two updates."""

import signal
import threading

import pytest

from storyloom.training.interrupt import SIGNALS, StopRequest


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_handlers_are_put_back(number):
    before = [*map(signal.getsignal, SIGNALS)]
    with StopRequest() as stop:
        assert not stop.requested
        signal.raise_signal(number)
        assert stop.requested
    assert [*map(signal.getsignal, SIGNALS)] == before


def test_the_second_one_stops_at_once():
    def loop(stop: StopRequest) -> None:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second signal was swallowed")

    with StopRequest() as stop, pytest.raises(KeyboardInterrupt):
        loop(stop)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_is_ignored_stays_so(number):
    """As `nohup` and a shell's `&` have it."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            signal.raise_signal(number)
            assert not stop.requested
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_handlers_are_put_back_after_an_error():
    def fail() -> None:
        with StopRequest():
            raise ValueError("ours")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="ours"):
        fail()
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_no_signal_is_taken():
    seen = []

    def work() -> None:
        with StopRequest() as stop:
            seen.append((stop.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, signal.getsignal(signal.SIGINT))]
