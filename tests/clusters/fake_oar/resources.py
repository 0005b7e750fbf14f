"""The resources of the fake cluster (the same as those of the real one in oar.py) and what a request asks of them."""

from __future__ import annotations

import re
import sqlite3
from itertools import islice
from typing import Any

COLUMNS = ("resource_id", "network_address", "host", "cluster", "cpu", "core", "gpu", "gpu_count", "gpu_model")
ALIASES = {"nodes": "network_address"}  # OARSUB_NODES_RESOURCES


class BadRequest(Exception):
    """A request that can't be read (rc 255), or that the database refuses (rc 8): `database` says which."""

    def __init__(self, text: str, database: bool = False):
        super().__init__(text)
        self.database = database


def table(hosts: int, cores: int) -> list[dict[str, Any]]:
    """Every resource: one core with its GPU."""
    rows = []
    for number in range(hosts * cores):
        host = number // cores + 1
        values = (number + 1, f"oar{host}", f"oar{host}", "test", host, number + 1, number + 1, cores, "GTX 1080 Ti")
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def parse(text: str) -> tuple[list[tuple[str, int]], int | None]:
    """Split `host=1/core=2,walltime=1:0:0` into its levels and its walltime in seconds."""
    body, walltime = text, None
    if found := re.search(r"(?:^|,)\s*walltime\s*=\s*(\d+)(?::(\d+))?(?::(\d+))?\s*$", text):
        hours, minutes, seconds = (int(part or 0) for part in found.groups())
        body, walltime = text[: found.start()], hours * 3600 + minutes * 60 + seconds
    elif "walltime" in text:
        raise BadRequest(f"/!\\ Cannot recognize -- {text[text.index(',walltime') :]} -- resource")
    levels = []
    for level in (body or "resource_id=1").strip("/ ").split("/"):
        if not (found := re.fullmatch(r"\s*(\w+)\s*=\s*(\d+)\s*", level)):
            raise BadRequest(f"/!\\ Cannot recognize the resource description : {level}")
        levels.append((ALIASES.get(found[1], found[1]), int(found[2])))
    return levels, walltime


def matching(rows: list[dict[str, Any]], where: str) -> list[dict[str, Any]]:
    """The rows that the SQL condition of -p keeps; a condition that no database understands raises BadRequest."""
    with sqlite3.connect(":memory:") as database:
        database.execute(f"create table resources ({', '.join(COLUMNS)})")
        marks = ", ".join("?" * len(COLUMNS))
        database.executemany(f"insert into resources values ({marks})", [tuple(row.values()) for row in rows])
        try:
            kept = {row[0] for row in database.execute(f"select resource_id from resources where {where or 1}")}
        except sqlite3.Error as error:
            raise BadRequest(f"Bad resource request (ERROR:  {error})", database=True) from None
    return [row for row in rows if row["resource_id"] in kept]


def choose(rows: list[dict[str, Any]], levels: list[tuple[str, int]]) -> list[int] | None:
    """Ids of resources among `rows` that satisfy the levels, lowest first; None when there are too few."""
    for name, _ in levels:
        if name not in COLUMNS:
            raise BadRequest(f'Bad resource request (ERROR:  column "{name}" does not exist)', database=True)
    return _choose(rows, levels)


def _choose(rows: list[dict[str, Any]], levels: list[tuple[str, int]]) -> list[int] | None:
    if not levels:
        return [row["resource_id"] for row in rows]
    (name, wanted), rest = levels[0], levels[1:]
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row[name], []).append(row)
    chosen = (ids for group in groups.values() if (ids := _choose(group, rest)))
    taken = list(islice(chosen, wanted))
    return [id_ for ids in taken for id_ in ids] if len(taken) == wanted else None
