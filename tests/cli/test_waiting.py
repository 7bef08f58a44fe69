"""Who sets how long waiting threads spin, and when."""

import os
import subprocess
import sys

import pytest

from storyloom.cli.waiting import ASKED_BY_USER, SPIN_COUNT, calm_waiting_threads


def test_it_is_set_if_nothing_was_asked_for():
    environ = {"OMP_NUM_THREADS": "2"}
    calm_waiting_threads(environ)
    assert environ == {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": str(SPIN_COUNT)}


@pytest.mark.parametrize("name", ASKED_BY_USER)
def test_the_users_own_choice_holds(name):
    environ = {name: "7"}
    calm_waiting_threads(environ)
    assert environ == {name: "7"}


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("import storyloom", "None"),
        ("import storyloom.cli", "None"),
        # Before torch is there to read it, and for child processes too.
        (
            "import storyloom, subprocess; from storyloom.cli import main\n"
            "def info():\n"
            "    assert 'torch' not in sys.modules\n"
            "    print(subprocess.check_output([sys.executable, '-c', SHOW], text=True).strip())\n"
            "    raise SystemExit\n"
            "storyloom.info = info\n"
            "main(['info'])",
            str(SPIN_COUNT),
        ),
    ],
)
def test_only_the_command_line_sets_it(program, expected):
    show = "import os; print(os.environ.get('GOMP_SPINCOUNT'))"
    environment = {name: value for name, value in os.environ.items() if name not in ASKED_BY_USER}
    words = [sys.executable, "-c", f"import sys; SHOW = {show!r}\n{program}\n{show}"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected]
