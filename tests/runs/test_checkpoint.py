"""Tensors and JSON, out and in; nothing cut short or altered is ever loaded."""

import json
import pickle
from pathlib import Path

import pytest
import torch

from storyloom.errors import CheckpointError
from storyloom.files import MANIFEST, sha256_of
from storyloom.runs import load_checkpoint, save_checkpoint
from storyloom.runs.checkpoint import FILES, Checkpoint
from storyloom.temporary import temporary_path


def checkpoint(seed: int) -> Checkpoint:
    torch.manual_seed(seed)
    weights = {"embedding.weight": torch.randn(11, 7), "blocks.0.attn.qkv.weight": torch.randn(3, 5).bfloat16()}
    tensors = {"optimizer.0.step": torch.tensor(3.0), "random.cpu": torch.get_rng_state(), "empty": torch.empty(0, 2)}
    return Checkpoint(weights, tensors, {"step": 13, "place": [2, 17], "best": None, "seconds": 1 / 3})


def assert_same(a: Checkpoint, b: Checkpoint) -> None:
    assert a.state == b.state
    for mine, theirs in ((a.weights, b.weights), (a.tensors, b.tensors)):
        assert mine.keys() == theirs.keys()
        for name, tensor in mine.items():
            assert tensor.dtype == theirs[name].dtype
            assert torch.equal(tensor, theirs[name])


def test_what_is_saved_is_loaded_to_the_bit(tmp_path):
    save_checkpoint(tmp_path / "c" / "last", checkpoint(1))
    assert_same(load_checkpoint(tmp_path / "c" / "last"), checkpoint(1))
    save_checkpoint(tmp_path / "c" / "last", checkpoint(2))
    assert_same(load_checkpoint(tmp_path / "c" / "last"), checkpoint(2))
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["last"]


def test_weights_alone_will_do(tmp_path):
    weights = {"a": torch.arange(5)}
    save_checkpoint(tmp_path / "best", Checkpoint(weights))
    assert_same(load_checkpoint(tmp_path / "best"), Checkpoint(weights))


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_flip, _cut, _grow, _empty, Path.unlink])
@pytest.mark.parametrize("name", FILES)
def test_damage_is_refused_with_the_file(tmp_path, name, damage):
    save_checkpoint(tmp_path / "last", checkpoint(1))
    damage(tmp_path / "last" / name)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "last")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"sha256": 3}', b'{"sha256": {}}', b'{"sha256": ["a"]}']
)
def test_a_manifest_that_vouches_for_nothing_is_refused(tmp_path, content):
    save_checkpoint(tmp_path / "last", checkpoint(1))
    (tmp_path / "last" / MANIFEST).write_bytes(content)
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "last")
    (tmp_path / "last" / MANIFEST).unlink()
    with pytest.raises(CheckpointError, match=r"manifest\.json is missing"):
        load_checkpoint(tmp_path / "last")


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*last"):
        load_checkpoint(tmp_path / "last")


class Burglar:
    def __reduce__(self):
        return (Path.touch, (Path("burgled"),))


@pytest.mark.parametrize("name", FILES)
def test_nothing_that_is_loaded_runs_code(tmp_path, monkeypatch, name):
    """A pickle in the place of a file, under its right checksum."""
    monkeypatch.chdir(tmp_path)
    save_checkpoint(tmp_path / "last", checkpoint(1))
    torch.save(Burglar(), tmp_path / "last" / name)
    manifest = json.loads((tmp_path / "last" / MANIFEST).read_text())
    manifest["sha256"][name] = sha256_of(tmp_path / "last" / name)
    (tmp_path / "last" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path / "last")
    assert not (tmp_path / "burgled").exists()
    pickle.loads(pickle.dumps(Burglar()))
    assert (tmp_path / "burgled").exists()  # the burglar does work where it is let in


def test_an_interrupted_replacement_is_read_without_touching_it(tmp_path):
    save_checkpoint(tmp_path / "last", checkpoint(1))
    save_checkpoint(tmp_path / "other", checkpoint(2))
    old, new = temporary_path(tmp_path / "last", "old"), temporary_path(tmp_path / "last", "new")
    (tmp_path / "last").rename(old)
    (tmp_path / "other").rename(new)
    assert_same(load_checkpoint(tmp_path / "last"), checkpoint(2))
    _cut(new / FILES[0])
    assert_same(load_checkpoint(tmp_path / "last"), checkpoint(1))
    assert set(tmp_path.iterdir()) == {old, new}
    _cut(old / FILES[0])
    with pytest.raises(CheckpointError, match="damaged") as caught:
        load_checkpoint(tmp_path / "last")
    assert str(tmp_path / "last" / FILES[0]) in str(caught.value)  # and not a temporary name of ours


def test_a_checkpoint_replaced_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a writer's two renames the folder that a reader has settled on goes away."""
    folder = tmp_path / "last"
    save_checkpoint(folder, checkpoint(5))
    answers = iter([tmp_path / "gone", folder])
    monkeypatch.setattr("storyloom.runs.checkpoint.settled_folder", lambda _: next(answers))
    assert_same(load_checkpoint(folder), checkpoint(5))
