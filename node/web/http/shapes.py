"""What a call takes, read by the very schema that /openapi.json shows: what does not fit it is refused.

Of JSON Schema this knows what the calls use: ``type`` (one, or a list of them), ``enum``; ``properties``, ``required``,
``additionalProperties`` (a schema, or False), ``minProperties``, ``maxProperties``; ``items``, ``minItems``,
``maxItems``; ``minLength``, ``maxLength``; ``minimum``, ``maximum``. No error repeats a value: it may be a passphrase.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from node.errors import ConfigError
from node.web.http.answers import read_object

Schema = Mapping[str, Any]
MAX_FIELDS = 32
"""In a query."""
_NAMES = {
    "object": "an object",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def shape(properties: Mapping[str, Schema], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """The schema of an object with these properties and no others."""
    return {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": dict(properties),
        "additionalProperties": False,
    }


async def read_shape(request: Request, schema: Schema, limit: int = 64 * 1024) -> dict[str, Any]:
    """The object in the body. What it may leave out and does is None.

    Raises:
        HttpError: As :func:`read_object`.
        ConfigError: It does not fit.
    """
    found = await read_object(request, limit)
    check(found, schema, "")
    return dict.fromkeys(schema["properties"]) | found


def query(request: Request, name: str) -> str | None:
    """A parameter of the query; None: it is not there. Bytes that are no UTF-8 become what ``os.fsencode`` takes.

    Raises:
        ConfigError: There are more than 32.
    """
    text = request.url.query
    try:
        found = parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=MAX_FIELDS)
    except ValueError as exc:
        raise ConfigError(f"a query has at most {MAX_FIELDS} parameters") from exc
    return next((value for key, value in found if key == name), None)


def parameter(name: str, description: str, *, required: bool = False, **schema: object) -> Schema:
    """Of a query, as OpenAPI has it: text."""
    found = {"name": name, "in": "query", "description": description, "required": required}
    return found | {"schema": {"type": "string", **schema}}


def check(value: object, schema: Schema, where: str) -> None:
    """Make sure that ``value`` fits.

    Args:
        value: As JSON gives it.
        schema: As above.
        where: What it is called in an error; empty: it is the body.

    Raises:
        ConfigError: It does not.
    """
    kinds = schema.get("type")
    wanted = [kinds] if isinstance(kinds, str) else kinds
    if wanted is not None and not any(_is(value, kind) for kind in wanted):
        raise _wrong(where, f"want {' or '.join(_NAMES[kind] for kind in wanted)}")
    if "enum" in schema and value not in schema["enum"]:
        raise _wrong(where, "it is none of what it may be")
    if isinstance(value, dict):
        _check_object(value, schema, where)
    elif isinstance(value, list):
        _check_bounds(len(value), schema, "minItems", "maxItems", where, "things")
        for number, item in enumerate(value):
            check(item, schema.get("items", {}), f"{where}[{number}]")
    elif isinstance(value, str):
        _check_bounds(len(value), schema, "minLength", "maxLength", where, "characters")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_bounds(value, schema, "minimum", "maximum", where, "")


def _check_object(value: dict[str, object], schema: Schema, where: str) -> None:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            raise _wrong(where, f"{name!r} is missing")
    others = schema.get("additionalProperties", {})
    _check_bounds(len(value), schema, "minProperties", "maxProperties", where, "fields")
    for name, item in value.items():
        if name not in known and others is False:
            raise _wrong(where, "a field that this call does not know")
        told = ".".join(filter(None, (where, name))) if name in known else where  # other names are theirs to choose
        check(item, known.get(name, others), told)


def _check_bounds(size: float, schema: Schema, least: str, most: str, where: str, what: str) -> None:
    low, high = schema.get(least), schema.get(most)
    unit = f" {what}" if what else ""
    if low is not None and size < low:
        raise _wrong(where, f"want at least {low}{unit}")
    if high is not None and size > high:
        raise _wrong(where, f"want at most {high}{unit}")


def _is(value: object, kind: str) -> bool:
    match kind:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case _:
            return value is None


def _wrong(where: str, what: str) -> ConfigError:
    return ConfigError(f"{where or 'the body'}: {what}")
