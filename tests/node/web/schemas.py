"""Whether answers are what /openapi.json says of them: as much of JSON Schema as the API's schemas use."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.node.web.asking import Answer, Browser

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_KNOWN = frozenset(
    ("type", "required", "properties", "additionalProperties", "propertyNames", "items", "oneOf", "enum", "pattern")
) | {"minimum", "maximum", "description"}


async def fits(browser: Browser, method: str, path: str, answer: Answer) -> None:
    """Check an answer in JSON against the schema of its call."""
    described = (await browser.ask("GET", "/openapi.json")).json()
    said = described["paths"][path.partition("?")[0]][method]["responses"][str(answer.status)]
    problems = list(_problems(said["content"]["application/json"]["schema"], answer.json(), path))
    assert not problems, problems


def _problems(schema: Mapping[str, Any], value: Any, where: str) -> Iterator[str]:
    assert set(schema) <= _KNOWN, f"not checked here: {set(schema) - _KNOWN}"
    if "oneOf" in schema:
        fitting = [one for one in schema["oneOf"] if not list(_problems(one, value, where))]
        if len(fitting) != 1:
            yield f"{where}: fits {len(fitting)} of the possibilities"
        return
    if "type" in schema and not _is(schema["type"], value):
        yield f"{where}: want {schema['type']}, got {value!r}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{where}: want one of {schema['enum']}, got {value!r}"
    elif isinstance(value, dict):
        yield from _object_problems(schema, value, where)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _problems(schema.get("items", {}), item, f"{where}[{at}]")
    elif isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{where}: {value!r} does not match {schema['pattern']}"
    elif isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{where}: {value} is out of range"


def _object_problems(schema: Mapping[str, Any], value: Mapping[str, Any], where: str) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    yield from (f"{where} lacks {name}" for name in schema.get("required", ()) if name not in value)
    for name, inner in value.items():
        if name not in known and others is False:
            yield f"{where} has {name}"
        else:
            yield from _problems(schema.get("propertyNames", {}), name, f"a name in {where}")
            yield from _problems(known.get(name, others), inner, f"{where}.{name}")


def _is(types: str | list[str], value: Any) -> bool:
    names = [types] if isinstance(types, str) else types
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _TYPES[name]) for name in names)
