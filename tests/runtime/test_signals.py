import os
import signal

import pytest

from hpcpipe.runtime.signals import StopFlag


@pytest.fixture
def ignoring():
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT)}
    for number in before:
        signal.signal(number, signal.SIG_IGN)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_strongest_signal_is_remembered_and_handlers_are_put_back(tmp_path):
    flag, before = StopFlag(tmp_path / "STOP"), signal.getsignal(signal.SIGTERM)
    with flag.handle_signals(interrupt=False):
        for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
    assert (flag.signal, flag.reason, flag.is_set) == (signal.SIGTERM, "SIGTERM", True)
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_a_terminal_a_signal_interrupts_at_once(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        StopFlag(tmp_path / "STOP").handle_signals(interrupt=True),
    ):
        os.kill(os.getpid(), signal.SIGHUP)


@pytest.mark.parametrize("interrupt", [True, False])
def test_under_nohup_and_in_the_background_it_goes_on(tmp_path, ignoring, interrupt):
    flag = StopFlag(tmp_path / "STOP")
    with flag.handle_signals(interrupt=interrupt):
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGINT)
    assert not flag.is_set
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
