"""A child that was forked from a process whose OpenMP threads have worked."""

import os
import subprocess
import sys

import pytest
import torch

from storyloom.runtime import forking

# The parent's threads work; then the child tells and evaluates, and says how many threads it has afterwards.
PROGRAM = """
import os, sys
import numpy as np
import torch
from storyloom.config import ModelConfig
from storyloom.data import EncodedStory
from storyloom.data.tokenization import CharTokenizer
from storyloom.evaluation import measure_likelihood
from storyloom.generation import StoryTeller
from storyloom.model import GPT

torch.set_num_threads(2)
tokenizer = CharTokenizer.train(["Once upon a time."], 0)
model = GPT(ModelConfig(vocab_size=tokenizer.vocab_size, block_size=64, n_embd=256)).eval()
teller, prompt = StoryTeller(model, tokenizer), "Once upon a time. " * 3
story = EncodedStory(prompt, np.array(tokenizer.encode(prompt)))

def work():
    told = [teller.tell(prompt, strategy=strategy, max_new_tokens=7) for strategy in ("top-p", "beam")]
    nats = measure_likelihood(model, [story] * 7, tokenizer.eot).nats_per_token
    print(all(text.startswith(prompt) for text in told), nats > 0, torch.get_num_threads(), flush=True)

work()
child = os.fork()
if not child:
    work()
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_tells_and_evaluates() -> None:
    """It waited for ever for threads that only its parent has."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            out, _ = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)  # the child as well
            pytest.fail("the forked child hangs")
    assert (process.returncode, out) == (0, "True True 2\n" * 2)


def test_one_thread_in_a_child_and_as_many_as_before_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(3)
    try:
        with forking.fork_safe():
            assert torch.get_num_threads() == 3
        monkeypatch.setattr(forking, "_IMPORTED_BY", -1)
        with forking.fork_safe():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
