"""The course's network, trained in steps that sleep (for tests)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from jobs.cifar import Cifar


@dataclass(frozen=True, kw_only=True)
class Paced(Cifar):
    """See the module."""

    NAME: ClassVar[str] = "paced"
    TASK: ClassVar[str] = "paced"


_COURSE = Cifar.presets()["course"]
_FIELDS = {field.name: getattr(_COURSE, field.name) for field in dataclasses.fields(_COURSE)}
PRESETS = {"default": Paced(**{**_FIELDS, "preset": "default"})}
