"""Entries of TensorBoard's HParams page on a run: its options when it begins, how it ended, and which columns there are.

The page takes the value of a metric from the last point of a scalar of the same run. Summaries are written into the run's own event
file, and not into a folder below it (as SummaryWriter.add_hparams does), so that one run is one line.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from ganhpc.core.printable import printable

SESSION_END = "_hparams_/session_end_info"
"""The tag that says how a run ended: a run that goes on has to take it back."""


class End(Enum):
    """End of a session, by the page's numbers. A run that was stopped or killed has no end yet."""

    SUCCESS = 1
    FAILURE = 2


def session_start(options: Mapping[str, Any], begun: float | None = None) -> Any:
    """The summary of a run that begins with `options` (those that are unset are left out)."""
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    info = plugin_data_pb2.SessionStartInfo(start_time_secs=begun or time.time())
    for name, value in options.items():
        if isinstance(value, bool):
            info.hparams[printable(name)].bool_value = value
        elif isinstance(value, int | float):
            info.hparams[printable(name)].number_value = value
        elif value is not None:
            info.hparams[printable(name)].string_value = word(value)
    return _summary(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=info))


def session_end(how: End) -> Any:
    """The summary of a run that ends."""
    from tensorboard.plugins.hparams import plugin_data_pb2

    info = plugin_data_pb2.SessionEndInfo(status=how.value, end_time_secs=time.time())
    return _summary(SESSION_END, plugin_data_pb2.HParamsPluginData(session_end_info=info))


def columns(options: Mapping[str, Iterable[Any]], metrics: Iterable[str]) -> Any:
    """The summary that settles the page's columns: options with the values that runs have, and metrics by their tags."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    experiment = api_pb2.Experiment(
        time_created_secs=time.time(),
        hparam_infos=[_option(api_pb2, name, [v for v in values if v is not None]) for name, values in options.items()],
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=tag.partition("/")[2])
            for tag in map(printable, metrics)
        ],
    )
    return _summary(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment))


def word(value: Any) -> str:
    """A list as it would be typed: 6,16. A path may hold bytes that are no text, which the files of TensorBoard don't take."""
    return printable(",".join(map(str, value)) or "none") if isinstance(value, list | tuple) else printable(value)


def _option(api_pb2: Any, name: str, values: list[Any]) -> Any:
    """A column: numbers have an interval, words and truth values a list, by which the page filters."""
    info = api_pb2.HParamInfo(name=printable(name), differs=len({word(value) for value in values}) > 1)
    if values and all(isinstance(value, bool) for value in values):
        info.type = api_pb2.DATA_TYPE_BOOL
        info.domain_discrete.extend(sorted(set(values)))
    elif values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        info.type = api_pb2.DATA_TYPE_FLOAT64
        info.domain_interval.min_value, info.domain_interval.max_value = min(values), max(values)
    else:
        info.type = api_pb2.DATA_TYPE_STRING
        info.domain_discrete.extend(sorted({word(value) for value in values}))
    return info


def _summary(tag: str, content: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata

    value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(content), tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])
