"""Rules of the house that no ready-made linter knows; `make lint` runs this file.

Tenancy: what answers a request never reaches for rows itself, where one forgotten condition shows one tenant what
belongs to another. It goes through `accounts.access`, `billing.access` or a module of queries or actions, which take
the organization of who asks.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ANSWERS_REQUESTS = ("komilion/web", "accounts/api", "billing/api", "routing/api")
VIEW_NAMES = ("views", "views.py", "api")  # of files and folders elsewhere
NOT_FOR_REQUESTS = {
    "komilion/web/management": "commands act for the operator, who may see everything",
    "komilion/web/stored_secrets.py": "runs at the start of the server and by a command, for no tenant",
}
MANAGERS = frozenset({"objects", "_default_manager", "_base_manager"})
SHORTCUTS = frozenset({"get_object_or_404", "get_list_or_404"})
RAW = frozenset({"connection", "connections"})  # of django.db
# Methods of query sets that nothing else in a view has: a related manager (`organization.api_keys`) is a way in too.
QUERIES = frozenset(
    {
        *("all", "filter", "exclude", "order_by", "distinct", "annotate", "aggregate", "only", "defer", "in_bulk"),
        *("first", "last", "latest", "earliest", "iterator", "values_list", "select_related", "prefetch_related"),
        *("select_for_update", "get_or_create", "update_or_create", "bulk_create", "bulk_update"),
    }
)
# Those that a dictionary, a list or a client has too are known by what they are given: `manager.get(pk=1)`, `.count()`.
WITH_KEYWORDS = frozenset({"get", "create", "update"})
WITH_NOTHING = frozenset({"count", "delete"})

INSTEAD = "ask accounts.access, billing.access or a queries module, which take the organization of who asks"


@dataclass(frozen=True, slots=True, order=True)
class Breach:
    """One place that breaks a rule."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}; {INSTEAD}"


def breaches(root: Path = ROOT) -> list[Breach]:
    """Every breach in the tree below `root`, in order."""
    return sorted(breach for path in _files(root) for breach in breaches_in(path.read_text(), _name(path, root)))


def breaches_in(source: str, path: str) -> Iterator[Breach]:
    """Breaches in one module's source."""
    for node in ast.walk(ast.parse(source, path)):
        for line, what in _found_in(node):
            yield Breach(path, line, f"`{what}` in what answers requests")


def _found_in(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Attribute) and node.attr in MANAGERS:
        yield node.lineno, f".{node.attr}"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _begins_query(node, node.func):
        yield node.lineno, f".{node.func.attr}()"
    elif isinstance(node, ast.ImportFrom) and node.module in {"django.shortcuts", "django.db"}:
        for name in node.names:
            if name.name in SHORTCUTS | RAW:
                yield node.lineno, f"{node.module}.{name.name}"


def _begins_query(call: ast.Call, method: ast.Attribute) -> bool:
    """What a manager or another query is asked for in the same breath is found there."""
    asked = [node.attr for node in ast.walk(method.value) if isinstance(node, ast.Attribute)]
    return _is_query(call, method.attr) and MANAGERS.isdisjoint(asked) and QUERIES.isdisjoint(asked)


def _is_query(call: ast.Call, name: str) -> bool:
    if name in WITH_KEYWORDS:
        return bool(call.keywords)
    return name in QUERIES or (name in WITH_NOTHING and not call.args and not call.keywords)


def _files(root: Path) -> Iterator[Path]:
    for app in ("komilion", "accounts", "billing", "routing", "voice", "advisor"):
        for path in sorted((root / app).rglob("*.py")):
            name = _name(path, root)
            is_view = name.startswith(ANSWERS_REQUESTS) or not {*path.relative_to(root).parts}.isdisjoint(VIEW_NAMES)
            if is_view and not name.startswith(tuple(NOT_FOR_REQUESTS)):
                yield path


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


if __name__ == "__main__":
    found = breaches()
    for breach in found:
        print(breach)
    sys.exit(1 if found else 0)
