"""The memory that `prepare` takes."""

import subprocess
import sys

import pytest

from storyloom.data.textfile import join_stories
from storyloom.storybook import tell

PREPARE = """
import resource, sys
from storyloom.data import prepare
if __name__ == "__main__":
    prepare(sys.argv[1], out=sys.argv[2], vocab_size=307, clean=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is in other units, or not to be had")
def test_memory_does_not_grow_with_the_text(tmp_path):
    (tmp_path / "run.py").write_text(PREPARE)
    told, peaks = [tell(5, index).text for index in range(101)], []
    for megabytes in (11, 53):
        text = tmp_path / f"{megabytes}.txt"
        with text.open("w") as file:
            while file.tell() < megabytes * 1e6:
                file.write(join_stories(f"{file.tell()} {story}" for story in told))
        command = [sys.executable, tmp_path / "run.py", text, tmp_path / str(megabytes)]
        peaks.append(int(subprocess.run(command, capture_output=True, check=True).stdout) * 1024)
    assert peaks[1] - peaks[0] < 15e6  # the digests of 90,000 stories are 1.4 MB of it
