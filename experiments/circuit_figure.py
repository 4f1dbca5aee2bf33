"""The attribution graph as a figure: what brings a feature about, and the tokens that it promotes.

Plain SVG and a table in a fragment of HTML that the report and the feature's page both take in. It has
no script and no style of its own: what answers to the pointer and the keyboard is in `circuit.css`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ..agents.inside.circuit_graph import CircuitGraph, GraphGroup
from ..agents.records import short
from .page import TEMPLATES, environment, template

if TYPE_CHECKING:
    from markupsafe import Markup

#: Sizes in the units of the drawing: its width, the height of a row, the feature's box, margins.
WIDTH, ROW, TOP = 720, 25, 34
LEFT_END, BOX, RIGHT_START = 262, (322, 438), 500
#: The widest line.
THICK = 13.0
#: Letters of a name that have room.
LETTERS = 26


@dataclass(frozen=True)
class Node:
    """One node with its line to the feature's box.

    value: as it is told, with its sign. title: all that is known of it. y: the middle of its row.
    path, width: the line. against: whether it takes away.
    """

    kind: str
    name: str
    value: str
    title: str
    y: float
    path: str
    width: float
    against: bool


@dataclass(frozen=True)
class Drawn:
    """One group as it is drawn. left, right: what brings it about, and what it promotes."""

    group: GraphGroup
    left: Sequence[Node]
    right: Sequence[Node]
    height: float
    middle: float


def circuit_figure(payload: dict[str, Any] | None) -> Markup | str:
    """The figure of a "circuit" event as HTML; "" where there is none."""
    from markupsafe import Markup

    if payload is None:
        return ""
    graph = CircuitGraph.model_validate(payload)
    drawn = [_drawn(group) for group in graph.groups]
    return Markup(
        _template().render(drawn=drawn, width=WIDTH, box=BOX, left=LEFT_END, right=RIGHT_START)
    )


@cache
def circuit_style() -> Markup:
    """The rules that the figure needs, where a page has its style within itself."""
    from markupsafe import Markup

    return Markup((TEMPLATES / "circuit.css").read_text(encoding="utf-8"))


@cache
def _template() -> Any:
    made = environment()
    made.filters.update(signed=signed)
    return template(made, "circuit.html.j2")


def signed(value: float) -> str:
    """A term of the sum, with its sign."""
    return f"{value:+.3f}" if abs(value) >= 0.0005 else "0.000" if not value else f"{value:+.1e}"


def _drawn(group: GraphGroup) -> Drawn:
    # Terms that only rounding makes are told in the table and not drawn.
    terms = [node for node in group.nodes if abs(node.value) >= 1e-4 * abs(group.pre_activation)]
    terms.sort(key=lambda node: (node.kind == "rest", -node.value))
    tokens = [*group.promoted[:6], *reversed(group.suppressed[:3])]
    rows = max(len(terms), len(tokens), 4)
    height = TOP + ROW * rows + 30
    middle = TOP + ROW * rows / 2
    most = max((abs(node.value) for node in terms), default=1.0) or 1.0
    strongest = max((abs(one.weight) for one in tokens), default=1.0) or 1.0

    def placed(number: int, n: int) -> float:
        return middle + (number - (n - 1) / 2) * ROW

    left = [
        Node(
            node.kind,
            short(node.name, LETTERS),
            signed(node.value),
            f"{node.name}: {node.value:+.6g} of {group.pre_activation:.6g}"
            + (f"; {node.detail}" if node.detail else ""),
            placed(number, len(terms)),
            _line(LEFT_END, placed(number, len(terms)), BOX[0], middle),
            max(0.6, THICK * abs(node.value) / most),
            node.value < 0,
        )
        for number, node in enumerate(terms)
    ]
    right = [
        Node(
            "token",
            f"“{short(one.token, LETTERS - 8)}”",
            signed(one.weight),
            f"“{one.token}”: {one.weight:+.6g} logits, straight to the next token",
            placed(number, len(tokens)),
            _line(BOX[1], middle, RIGHT_START, placed(number, len(tokens))),
            max(0.6, THICK * abs(one.weight) / strongest),
            one.weight < 0,
        )
        for number, one in enumerate(tokens)
    ]
    return Drawn(group, left, right, height, middle)


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    half = (x + to_x) / 2
    return f"M{x:g} {y:g}C{half:g} {y:g} {half:g} {to_y:g} {to_x:g} {to_y:g}"
