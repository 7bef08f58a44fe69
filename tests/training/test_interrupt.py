"""Signals between two updates."""

import signal
import threading

import pytest

from storyloom.training.interrupt import StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_handlers_are_put_back(number):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert not stop.requested
        signal.raise_signal(number)
        assert stop.requested
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_the_second_one_stops_at_once():
    def loop(stop: StopRequest) -> None:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second signal was swallowed")

    with StopRequest() as stop, pytest.raises(KeyboardInterrupt):
        loop(stop)


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
