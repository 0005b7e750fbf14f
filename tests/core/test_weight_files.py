"""Headers of weight files as foreign programs write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ganhpc.core.files import Damaged
from ganhpc.core.weight_files import definition_of, digest_of
from ganhpc.datasets import held_data

WHOLE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def written(folder: Path, header: Any) -> Path:
    data = json.dumps(header).encode()
    file = folder / "x.safetensors"
    file.write_bytes(len(data).to_bytes(8, "little") + data + b"\0" * 64)
    return file


@pytest.mark.parametrize(
    "header",
    [
        *(
            {"a": {**WHOLE, "data_offsets": place}}
            for place in (
                [0.0, 4.0],
                [0.5, 4],
                [False, True],
                [0, 4, 8],
                [4, 0],
                [0, 65],
                [-4, 0],
                "04",
                {"a": 0},
                None,
            )
        ),
        {
            name: {**WHOLE, "data_offsets": [0, 64]} for name in ("a", "b")
        },  # of a million, each would be read to the end
        {"a": {**WHOLE, "shape": 1}},
        {"a": [0, 4]},
        [WHOLE],
        *(
            {"__metadata__": {"definition": text}}
            for text in (
                5,
                5.5,
                ["x"],
                {"a": 1},
                True,
                "5",
                "[]",
                "null",
                "\0",
                "[" * 9000,
                "\ufeff{}",
                "{" + '"a":{' * 60,
            )
        ),
    ],
)
def test_a_header_of_wrong_values_is_no_network(tmp_path: Path, header: Any) -> None:
    file = written(tmp_path, header)
    with pytest.raises(Damaged, match=r"no whole file of weights|a definition that can't be read"):
        digest_of(file)
    assert held_data._networks(tmp_path) == {}


def test_a_whole_one_is_known_and_one_of_weights_alone_is_no_network(tmp_path: Path) -> None:
    about = {"a": WHOLE, "__metadata__": {"definition": '{"net": "x"}', "more": "y"}}
    file = written(tmp_path, about)
    assert definition_of(file) == {"net": "x"}
    assert held_data._networks(tmp_path) == {"x.safetensors": digest_of(file)}
    assert definition_of(written(tmp_path, {"a": WHOLE})) == {} == definition_of(written(tmp_path, {"__metadata__": 5}))
    assert held_data._networks(tmp_path) == {}
