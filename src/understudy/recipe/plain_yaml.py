"""YAML without what a recipe has no use for and a stranger's file can do harm with.

Anchors and aliases (a few lines that grow to gigabytes), tags, keys given twice and deep nesting
are refused. No key takes a date, so what looks like one is text; numbers are decimal.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from understudy.errors import UserError
from understudy.recipe.values import MAX_DEPTH

MAX_NODES = 50_000
"""Keys and values in a document: a sentence for each of 20,000 classes fits in."""


def read_yaml(text: str, source: str) -> Any:
    """The content of a YAML document. Raises UserError, which begins with `source`."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{source} is not valid YAML{_place(error)}.") from error
    except ValueError as error:
        raise UserError(f"{source} holds a number of more digits than any has use for.") from error


def write_yaml(content: Any) -> str:
    """As YAML that `read_yaml`, and any other reader, reads back as it was."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 3e-4 is a number, as everybody means it, and 010 is ten."""

    depth = nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _refusal("no anchors (&) and aliases (*) here; write the value out", event)
        if getattr(event, "tag", None):
            raise _refusal("no tags (!) here", event)
        if self.depth >= MAX_DEPTH:
            raise _refusal(f"nested deeper than {MAX_DEPTH} levels", event)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _refusal(f"more than {MAX_NODES:,} keys and values", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise _refusal(f"{key.value!r} is there twice", key)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Quotes text that either kind of reader would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        # Quoted, a line break such as U+0085 is escaped; else it would be read as another one.
        "tag:yaml.org,2002:str",
        text,
        style=None if text.isprintable() else '"',
    ),
)

_NUMBERS = (
    ("int", r"^[-+]?[0-9][0-9_]*$"),
    ("float", r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?"
              r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
)  # fmt: skip

_Loader.yaml_implicit_resolvers = {
    first: [one for one in known if one[0].rpartition(":")[2] in ("null", "bool")]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, _pattern in _NUMBERS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_name}", re.compile(_pattern), list("-+0123456789.")
        )
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value.replace("_", "")))


def _refusal(problem: str, event: Any) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _place(error: yaml.YAMLError) -> str:
    """Where a YAML error is and what it is, in one line."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{where}: {problem or ' '.join(str(error).split())}"
