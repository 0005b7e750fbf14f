"""OAR's -l and -p: what the settings have, with what is typed in its place."""

from __future__ import annotations

import re

from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings
from ganhpc.launch.schedulers.option_words import plain_name, quoted

_HOSTS = r"(?<![\w])(nodes|host|network_address)=(\w+)"
_GPUS = r"(?<![\w])(gpu)=(\w+)"


def checked(text: str, key: str) -> str:
    """The settings' `resources`, `properties` or `constraint`, without a word of oarsub and without a walltime. Raises UserError."""
    found = re.match(r"\s*(?:#\s*OAR\s+|oarsub\s+)?(-[lp]|--resource\b|--property\b)[=\s]*", text)
    if found:
        bare = _without_walltime(_unquoted(text[found.end() :].strip()))
        raise UserError(
            f"{key} is {text!r}, which begins with {found[1]}: write its value alone, {key} = {quoted(bare or _EXAMPLES[key])}."
        )
    # Text in quotes is a name of the site, whatever it looks like; resources have it in braces only.
    outside = re.sub(r"'[^']*'|\"[^\"]*\"", "''", text)
    if re.search(r"walltime", text if key == "resources" else outside, re.I):
        bare = _without_walltime(text)
        raise UserError(
            f"{key} is {text!r}, but the walltime is the policy's (type --time): write {key} = {quoted(bare or _EXAMPLES[key])}."
        )
    if re.search(r"\s-{1,2}[A-Za-z]", outside):
        raise UserError(f"{key} is {text!r}, which has further words of oarsub: write those in options.")
    return text


_EXAMPLES = {"resources": "/host=1/gpu=1", "properties": "gpu_model = 'A100'", "constraint": "gpu_mem > 16000"}
"""A value of each key, for sentences."""


def _without_walltime(text: str) -> str:
    return re.sub(r"(,|\s*(-l|--resource)\b)?[=\s]*\bwalltime\s*=?\s*[^,/+\s]*", "", text, flags=re.I).strip()


def _unquoted(text: str) -> str:
    """`text` without the quotes in which a shell has it as one word; quotes within it are its own."""
    whole = re.fullmatch(r"\"([^\"]*)\"|'([^']*)'", text)
    return whole[1] or whole[2] or "" if whole else text


def gpus(resources: str) -> int:
    """GPUs on each node in the words of `resources`."""
    found = re.search(_GPUS, re.sub(r"\{[^}]*\}", "", resources))  # in braces stand conditions
    return int(found[2]) if found and found[2].isdigit() else 0


def of_one_node(resources: str) -> str:
    """`resources`. Raises UserError where they ask for several GPUs wherever these are: each node would be taken to have all of them."""
    if gpus(resources) > 1 and not re.search(_HOSTS, resources):
        one = re.sub(rf"/?{_GPUS}", r"/host=1/\1=\2", resources, count=1)
        raise UserError(
            f"resources is {resources!r}, whose GPUs may be on several nodes: write their number on each node, resources = {quoted(one)}."
        )
    return resources


def with_typed(resources: str, nodes: int | None, gpus: int | None) -> str:
    """`resources` with the typed numbers of nodes and of GPUs on each. Raises UserError where it has no place for them."""
    text = resources.strip()
    if (nodes is None and gpus is None) or (nodes is not None and gpus is None and _is(text, _HOSTS, nodes)):
        return text
    if "+" in text:
        raise UserError(
            f"resources in the settings is {resources!r}, several requests in one: leave it out to type --nodes or --gpus-per-node."
        )
    if nodes is not None:
        text = re.sub(_HOSTS, rf"\g<1>={nodes}", text, count=1) if re.search(_HOSTS, text) else _above(text, nodes)
    if gpus is not None:
        text = _with_gpus(text, gpus, resources)
    return text


def _is(text: str, level: str, number: int) -> bool:
    found = re.search(level, text)
    return found is not None and found[2] == str(number)


def _above(text: str, nodes: int) -> str:
    """`text` below a level of nodes, behind a condition in braces."""
    condition, levels = re.match(r"(\{.*\})?(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{condition or ''}/nodes={nodes}/{levels.lstrip('/')}"


def _with_gpus(text: str, gpus: int, resources: str) -> str:
    if re.search(_GPUS, text):
        return re.sub(_GPUS, rf"\g<1>={gpus}", text, count=1) if gpus else re.sub(rf"/?{_GPUS}", "", text, count=1)
    if not gpus:
        return text
    if re.search(rf"{_HOSTS}\s*$", text):
        return f"{text}/gpu={gpus}"
    raise UserError(
        f"--gpus-per-node {gpus} is typed, and resources in the settings is {resources!r}, which has no level of GPUs: write it as "
        '"/host=1/gpu=1", or leave it out.'
    )


def properties(site: Settings) -> str:
    """The condition on nodes: the settings' own, and what is asked for by name. Raises UserError where both name one property."""
    own = checked(site.properties, "properties") if site.properties else ""
    further = checked(site.constraint, "constraint") if site.constraint else ""
    named = {"gpu_model": site.gpu_model, "cluster": site.cluster}
    parts = [f"({own})"] if own else []
    for key, value in named.items():
        if not value:
            continue
        if re.search(rf"(?<!\w){key}(?!\w)", own):
            raise UserError(
                f"properties in the settings is {own!r}, which names {key} already, and {key} is {value!r}: take it out of properties, and "
                f"write {key} = {quoted(value)} in the settings, which may be typed over."
            )
        if "'" in value:
            raise UserError(f"{key} is {value!r}, with an apostrophe: write its name as `oarnodes` has it.")
        parts.append(f"{key} = '{plain_name(value, key)}'")
    parts += [f"({further})"] if further else []
    return own if parts == [f"({own})"] else " AND ".join(parts)
