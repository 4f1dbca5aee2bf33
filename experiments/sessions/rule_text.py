"""Rules as people and agents write them.

    word: bank, banks @ .9; shape: digits @ .3

is the short form: what the current token is, and the level it expects as a share of the feature's
typical maximum (1 where none is given). Conditions on the surroundings need the long form, JSON:

    {"clauses": [{"level": 0.9, "conditions": [
        {"match": {"kind": "word", "values": ["bank"]}},
        {"match": {"kind": "word", "values": ["river"]}, "first": -8, "last": -1}]}]}
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import ValidationError

from ...agents.rules.language import Near, Rule
from ...agents.rules.regex_bounds import check_regex
from ...sae.errors import RuleError

_CLAUSE = re.compile(r"\s*(\w+)\s*:\s*(.*?)\s*(?:@\s*(\d*\.?\d+)\s*)?", re.DOTALL)


def as_rule(written: Rule | dict[str, Any] | str | None, unit: float) -> Rule | None:
    """A rule from the short form, from JSON (text or values), or as it is.

    unit: the feature's typical maximum, for a rule that names none. Raises RuleError with the first
    thing that is wrong; that a regular expression may take for ever is (see `check_regex`).
    """
    if written is None or isinstance(written, Rule):
        return written
    try:
        rule = Rule.model_validate(_long(written))
    except json.JSONDecodeError as error:
        raise RuleError(f"The rule is no JSON: {error}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the rule"
        raise RuleError(f"The rule cannot be read: {place}: {first['msg']}.") from None
    if not rule.clauses:
        raise RuleError("The rule has no clauses: it would say that the feature never fires.")
    for clause in rule.clauses:
        for condition in clause.conditions:
            if isinstance(condition, Near) and condition.match.kind == "regex":
                for pattern in condition.match.values:
                    check_regex(pattern)
    return rule if "unit" in rule.model_fields_set else rule.model_copy(update={"unit": unit})


def _long(written: dict[str, Any] | str) -> Any:
    """The long form as values, with each condition's type."""
    if isinstance(written, str):
        is_long = written.lstrip().startswith("{")
        written = json.loads(written) if is_long else _from_short(written)
    # Through JSON, so that nothing of the caller's is changed.
    values = json.loads(json.dumps(written))
    clauses = values.get("clauses", ()) if isinstance(values, dict) else ()
    for clause in clauses if isinstance(clauses, list) else ():
        conditions = clause.get("conditions", ()) if isinstance(clause, dict) else ()
        for condition in conditions if isinstance(conditions, list) else ():
            if isinstance(condition, dict) and "match" in condition:
                condition.setdefault("type", "near")
    return values


def _from_short(text: str) -> dict[str, Any]:
    clauses = []
    for part in filter(str.strip, text.split(";")):
        found = _CLAUSE.fullmatch(part)
        if not found:
            raise RuleError(
                f"{part.strip()!r} is no rule: write it like word: bank, banks @ .9, or as JSON."
            )
        kind, values, level = found.groups()
        # A comma in a regular expression is its own.
        names = [values] if kind == "regex" else [one.strip() for one in values.split(",")]
        match = {"kind": kind, "values": [name for name in names if name]}
        clauses.append({"level": float(level or 1), "conditions": [{"match": match}]})
    return {"clauses": clauses}
