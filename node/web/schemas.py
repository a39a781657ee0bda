"""JSON schemas that several groups of calls are put together of."""

from collections.abc import Mapping
from typing import Any

COUNT = {"type": "integer", "minimum": 0}
MAYBE_COUNT = {"type": ["integer", "null"], "minimum": 0}
TEXT = {"type": "string"}
MAYBE_TEXT = {"type": ["string", "null"]}
FLAG = {"type": "boolean"}
MAYBE_FLAG = {"type": ["boolean", "null"]}
ID = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
COUNTRY = {"type": "string", "pattern": "^[A-Z]{2}$", "description": "As claimed."}


def record(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """An object that has all of these and nothing else."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def rows(of: Mapping[str, Any]) -> dict[str, Any]:
    """A list."""
    return {"type": "array", "items": of}


def by_country(of: Mapping[str, Any]) -> dict[str, Any]:
    """An object that has something for each claimed country."""
    return {"type": "object", "propertyNames": COUNTRY, "additionalProperties": of}


def or_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Or nothing."""
    return {"oneOf": [schema, {"type": "null"}]}
