"""What `prepare` is called with: wrong types and empty names are our errors; and a script without a main guard."""

import subprocess
import sys
from pathlib import Path

import pytest

from storyloom.data import prepare
from storyloom.data.tokenization import BPETokenizer
from storyloom.errors import ConfigError, DataError, TokenizerError

from .test_prepare import STORIES, text_file, tree


@pytest.mark.parametrize(
    ("sources", "options", "error", "part"),
    [
        ([b"a.txt"], {}, DataError, r"a source of stories is b'a\.txt', of type bytes: give a path, or `storybook`"),
        ([None], {}, DataError, "a source of stories is None, of type NoneType"),
        ([""], {}, DataError, "no such file: ''"),
        (["a.txt"], {"val": b"v"}, DataError, "val is b'v', of type bytes"),
        (["a.txt"], {"val": ""}, DataError, "no such file: ''"),
        (["a.txt"], {"out": ""}, DataError, "out is empty: name the data folder to make"),
        (["a.txt"], {"out": b"D"}, DataError, "out is b'D', of type bytes"),
        (["a.txt"], {"out": None}, DataError, "out is None, of type NoneType"),
        (["a.txt"], {"preset": Path("tiny")}, ConfigError, "preset is .*tiny.*, of type .*Path: give a preset's name"),
        (["a.txt"], {"preset": ["tiny"]}, ConfigError, "preset is .* of type list"),
        (["a.txt"], {"tokenizer": b"bpe"}, DataError, "tokenizer is b'bpe', of type bytes"),
        (["a.txt"], {"tokenizer": ""}, TokenizerError, "unknown tokenizer ''"),
        (["a.txt"], {"workers": 1.5}, ConfigError, r"workers = 1\.5: at least 1"),
        (["a.txt"], {"workers": True}, ConfigError, "workers = True"),
        (["a.txt"], {"vocab_size": "many"}, ConfigError, "vocab_size"),
        (["a.txt"], {"limit_mb": [3]}, ConfigError, "limit_mb"),
    ],
)
def test_what_is_of_the_wrong_type_or_empty_is_refused(tmp_path, monkeypatch, sources, options, error, part):
    """They were TypeErrors, AttributeErrors, or the working directory."""
    monkeypatch.chdir(tmp_path)
    text_file(tmp_path, STORIES[:20])
    with pytest.raises(error, match=part) as caught:
        prepare(*sources, **{"out": "D", **options})
    assert "\n" not in str(caught.value)
    assert list(tree(tmp_path)) == ["a.txt"]


def test_a_tokenizer_may_be_a_path(tmp_path):
    """It was an AttributeError."""
    BPETokenizer.train(STORIES[:7], 271).save(tmp_path / "t.json")
    data = prepare(text_file(tmp_path, STORIES), out=tmp_path / "D", tokenizer=tmp_path / "t.json")
    assert data.tokenizer.vocab_size == 271
    assert data.manifest.settings["tokenizer"] == str(tmp_path / "t.json")


UNGUARDED = """
import sys
from storyloom.data import prepare
prepare("storybook", out=sys.argv[1], tokenizer="char", limit_mb=0.05, workers=2)
"""


def test_a_script_without_a_main_guard_gets_one_line(tmp_path):
    """Each worker ran the script again, and printed pages of its own before the line."""
    (tmp_path / "script.py").write_text(UNGUARDED, encoding="utf-8")
    command = [sys.executable, tmp_path / "script.py", tmp_path / "D"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.count("Traceback") == 1  # the script's own
    assert 'an `if __name__ == "__main__":` around the call' in ended.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]
