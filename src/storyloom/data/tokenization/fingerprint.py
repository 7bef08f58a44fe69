"""What decides the ids that a tokenizer gives, in a canonical form of our own, and its checksum.

Read from a `tokenizer.json`, whose form changes with releases of the `tokenizers` library while its meaning stays: a
merge is written "a b" or ["a", "b"]; options that have their defaults are there or not; and much of it decides no id
(how to decode, truncate, pad, or to put tokens around a text).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

FORM = "storyloom tokenizer 1"

# The options that decide ids, and what a file means that leaves them out. None, "" and 0.0 all switch an option off.
MODEL_OPTIONS: dict[str, dict[str, Any]] = {
    "BPE": {
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "dropout": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
    },
    "WordLevel": {"unk_token": "<unk>"},
}
ADDED_TOKEN_OPTIONS: dict[str, Any] = {
    "special": False,
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": None,  # by default, whatever is not special
}
STEP_DEFAULTS: dict[str, dict[str, Any]] = {
    "ByteLevel": {"add_prefix_space": True, "use_regex": True},
    "Split": {"invert": False},
}
STEP_IGNORED = {"ByteLevel": {"trim_offsets"}}  # where a token stood in the text, which is nobody's question here
INSIDE_SEQUENCE = ("pretokenizers", "normalizers")


def fingerprint_of(content: Mapping[str, Any]) -> str:
    """The SHA-256, in hex, of the meaning of a `tokenizer.json`: equal exactly if two give the same ids.

    Args:
        content: the file, parsed.

    >>> model = {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "a"}
    >>> fingerprint_of({"model": model}) == fingerprint_of({"model": model, "truncation": None, "version": "2"})
    True
    """
    canonical = json.dumps(meaning_of(content), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def meaning_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """The canonical form of a `tokenizer.json`."""
    model = content["model"]
    kind = model["type"]
    options = {name: model.get(name, default) for name, default in MODEL_OPTIONS.get(kind, {}).items()}
    return {
        "form": FORM,
        "model": {"type": kind, **{name: value or None for name, value in options.items()}},
        "vocabulary": sorted(([i, token] for token, i in model["vocab"].items())),
        "merges": [_pair(merge) for merge in model.get("merges") or ()],
        "added_tokens": sorted(
            (_added(token) for token in content.get("added_tokens") or ()), key=lambda each: each["id"]
        ),
        "normalizer": _steps(content.get("normalizer")),
        "pre_tokenizer": _steps(content.get("pre_tokenizer")),
    }


def _pair(merge: str | Sequence[str]) -> list[str]:
    return merge.split(" ", 1) if isinstance(merge, str) else list(merge)


def _added(token: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: token.get(name, default) for name, default in ADDED_TOKEN_OPTIONS.items()}
    if options["normalized"] is None:
        options["normalized"] = not options["special"]
    return {"id": token["id"], "content": token["content"], **options}


def _steps(step: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A normalizer's or pre-tokenizer's steps, one after the other; a sequence of one means that one."""
    if step is None:
        return []
    for name in INSIDE_SEQUENCE:
        if step.get("type") == "Sequence" and name in step:
            return [inner for each in step[name] for inner in _steps(each)]
    kind = step.get("type", "")
    ignored = STEP_IGNORED.get(kind, set())
    return [STEP_DEFAULTS.get(kind, {}) | {name: value for name, value in step.items() if name not in ignored}]
