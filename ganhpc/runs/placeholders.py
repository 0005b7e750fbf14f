"""Words in braces in a program's arguments: {run}, {checkpoints}, {seed}, {segment}, and each name that a scan gives values to.

Other braces are left as they are; a name in double braces, {{run}}, is the word {run} itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

FIXED = ("run", "checkpoints", "seed", "segment")
"""Names that every program may use."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")


def filled(command: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The arguments with the values in place of their names; values are not looked into again."""
    if not values:
        return list(command)
    names = "|".join(sorted(map(re.escape, values), key=len, reverse=True))
    pattern = re.compile(r"\{\{(" + names + r")\}\}|\{(" + names + r")\}")
    return [pattern.sub(lambda found: "{" + found[1] + "}" if found[1] else values[found[2]], word) for word in command]


def uses(command: Sequence[str], name: str) -> bool:
    """True if an argument takes the value of `name`."""
    return filled(command, {name: ""}) != filled(command, {name: "x"})
