"""How long the threads of a parallel computation wait before they sleep; to be settled before torch is imported."""

from collections.abc import MutableMapping

# By default a thread that waits for the others spins for milliseconds. On a core that another program wants too, it
# takes that program's time and, worse, the time of the one thread that everybody waits for.
SPIN_COUNT = 1500
ASKED_BY_USER = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def calm_waiting_threads(environ: MutableMapping[str, str]) -> None:
    """Let waiting threads spin for a short time only, unless the user has said how they are to wait.

    GNU's OpenMP, which PyTorch uses on Linux, reads the variable once, as torch is imported; child processes
    inherit it.

    Args:
        environ: the environment variables of this process, `os.environ`.

    >>> environ = {"HOME": "/"}
    >>> calm_waiting_threads(environ)
    >>> environ["GOMP_SPINCOUNT"] == str(SPIN_COUNT)
    True
    """
    if not any(name in environ for name in ASKED_BY_USER):
        environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)
