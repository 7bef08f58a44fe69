"""What several verbs print in the same way."""

import json
import sys
from typing import Any


def print_json(content: dict[str, Any]) -> None:
    """One JSON object on standard output. JSON has no nan, which a figure is where there is too little text for it."""
    sys.stdout.write(json.dumps(_without_nan(content), ensure_ascii=False, allow_nan=False) + "\n")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if value != value else value
