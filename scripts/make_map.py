"""Make node/web/static/map/world.json: outlines of countries by their ISO 3166-1 alpha-2 codes, ready to be drawn.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python scripts/make_map.py package

world-atlas is Natural Earth 4.1 as TopoJSON. What borders have in common stays in common: simplified are the arcs,
which neighbours share, and not the countries. The projection is Equal Earth (Savric, Patterson, Jenny 2018): areas are
true.
"""

import argparse
import heapq
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

Point = tuple[float, float]
Ring = list[Point]

OUT = Path(__file__).parent.parent / "node" / "web" / "static" / "map" / "world.json"
WIDTH = 1600
SOUTH, NORTH = -57.0, 84.0
"""What lies outside, the Antarctic, is not drawn."""
MIN_AREA = 1.2
"""Of the triangle that a point makes with its neighbours, in units of the picture: what is less is left out."""
MIN_ISLAND = 5.0
"""Islands with less are left out, but for the largest of each country."""

CODES = (
    "AF004AL008AQ010DZ012AS016AD020AO024AG028AZ031AR032AU036AT040BS044BH048BD050AM051BB052BE056BM060BT064BO068BA070"
    "BW072BV074BR076BZ084IO086SB090VG092BN096BG100MM104BI108BY112KH116CM120CA124CV132KY136CF140LK144TD148CL152CN156"
    "TW158CX162CC166CO170KM174YT175CG178CD180CK184CR188HR191CU192CY196CZ203BJ204DK208DM212DO214EC218SV222GQ226ET231"
    "ER232EE233FO234FK238GS239FJ242FI246AX248FR250GF254PF258TF260DJ262GA266GE268GM270PS275DE276GH288GI292KI296GR300"
    "GL304GD308GP312GU316GT320GN324GY328HT332HM334VA336HN340HK344HU348IS352IN356ID360IR364IQ368IE372IL376IT380CI384"
    "JM388JP392KZ398JO400KE404KP408KR410KW414KG417LA418LB422LS426LV428LR430LY434LI438LT440LU442MO446MG450MW454MY458"
    "MV462ML466MT470MQ474MR478MU480MX484MC492MN496MD498ME499MS500MA504MZ508OM512NA516NR520NP524NL528CW531AW533SX534"
    "BQ535NC540VU548NZ554NI558NE562NG566NU570NF574NO578MP580UM581FM583MH584PW585PK586PA591PG598PY600PE604PH608PN612"
    "PL616PT620GW624TL626PR630QA634RE638RO642RU643RW646BL652SH654KN659AI660LC662MF663PM666VC670SM674ST678SA682SN686"
    "RS688SC690SL694SG702SK703VN704SI705SO706ZA710ZW716ES724SS728SD729EH732SR740SJ744SZ748SE752CH756SY760TJ762TH764"
    "TG768TK772TO776TT780AE784TN788TR792TM795TC796TV798UG800UA804MK807EG818GB826GG831JE832IM833TZ834US840VI850BF854"
    "UY858UZ860VE862WF876WS882YE887ZM894"
)
"""ISO 3166-1: alpha-2 and numeric codes."""
UNCODED = {"Kosovo": "XK"}
"""Without a number in ISO 3166, with letters of common use. Others without one are drawn, and are nobody's claim."""
MOVED = {"FR": ("GF", lambda p: p[0] < -40), "NO": ("SJ", lambda p: p[1] > 74)}
"""Parts that the small scale draws with a country, and that have a code of their own: by where they lie."""
PLACES = {
    "AQ": (0, -56.5), "BQ": (-68.3, 12.2), "BV": (3.4, -54.4), "CC": (96.8, -12.2), "CX": (105.6, -10.5),
    "GP": (-61.5, 16.2), "MQ": (-61.0, 14.6), "RE": (55.5, -21.1), "TK": (-171.8, -9.2), "YT": (45.2, -12.8),
}  # fmt: skip
"""Degrees east and north of those that Natural Earth has no outline of."""


class Atlas:
    """A TopoJSON file of world-atlas."""

    def __init__(self, path: Path) -> None:
        found = json.loads(path.read_text("utf-8"))
        scale, shift = found["transform"]["scale"], found["transform"]["translate"]
        self.arcs = [list(_degrees(arc, scale, shift)) for arc in found["arcs"]]
        self.countries: list[dict[str, Any]] = found["objects"]["countries"]["geometries"]

    def polygons(self, country: Mapping[str, Any]) -> list[list[list[int]]]:
        """Each a list of rings, each a list of arcs; ~i is arc i backwards."""
        return [country["arcs"]] if country["type"] == "Polygon" else country["arcs"]

    def ring(self, arcs: Sequence[int], of: Sequence[Ring]) -> Ring:
        points: Ring = []
        for arc in arcs:
            piece = of[arc] if arc >= 0 else of[~arc][::-1]
            points += piece[1:] if points else piece
        return points


def _degrees(arc: Iterable[Sequence[int]], scale: Sequence[float], shift: Sequence[float]) -> Iterator[Point]:
    x = y = 0
    for dx, dy in arc:
        x, y = x + dx, y + dy
        yield x * scale[0] + shift[0], y * scale[1] + shift[1]


def equal_earth(point: Point) -> Point:
    """On a plane, in radians; north is up."""
    a1, a2, a3, a4 = 1.340264, -0.081106, 0.000893, 0.003796
    theta = math.asin(math.sqrt(3) / 2 * math.sin(math.radians(point[1])))
    squared, sixth = theta**2, theta**6
    slope = 9 * a4 * theta**8 + 7 * a3 * sixth + 3 * a2 * squared + a1
    x = 2 * math.sqrt(3) * math.radians(point[0]) * math.cos(theta) / (3 * slope)
    return x, theta * (a1 + a2 * squared + sixth * (a3 + a4 * squared))


_SCALE = WIDTH / (2 * equal_earth((180, 0))[0])
_TOP = equal_earth((0, NORTH))[1]
HEIGHT = round((_TOP - equal_earth((0, SOUTH))[1]) * _SCALE)


def pictured(point: Point) -> Point:
    """Units of the picture, from its upper left corner."""
    x, y = equal_earth(point)
    return WIDTH / 2 + x * _SCALE, (_TOP - y) * _SCALE


def area(points: Sequence[Point]) -> float:
    """Above 0, whichever way round."""
    pairs = zip(points, [*points[1:], points[0]], strict=True)
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2


def middle(points: Sequence[Point]) -> Point:
    """The middle of the box around them."""
    xs, ys = zip(*points, strict=True)
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2


def centre(points: Sequence[Point]) -> Point:
    """The centre of the area within a ring."""
    pairs = list(zip(points, [*points[1:], points[0]], strict=True))
    crosses = [x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs]
    if not sum(crosses):
        return middle(points)
    x = sum((x0 + x1) * cross for ((x0, _), (x1, _)), cross in zip(pairs, crosses, strict=True))
    y = sum((y0 + y1) * cross for ((_, y0), (_, y1)), cross in zip(pairs, crosses, strict=True))
    return x / (3 * sum(crosses)), y / (3 * sum(crosses))


def simplified(arc: Ring) -> Ring:
    """Without the points that matter least in the picture (Visvalingam, Whyatt 1993); both ends stay."""
    line = [pictured(point) for point in arc]
    before, after = list(range(-1, len(line) - 1)), list(range(1, len(line) + 1))
    left = set(range(len(line)))

    def weight(at: int) -> float:
        return area([line[before[at]], line[at], line[after[at]]])

    heap = [(weight(at), at) for at in range(1, len(line) - 1)]
    heapq.heapify(heap)
    while heap:
        found, at = heapq.heappop(heap)
        if at not in left or found != weight(at):
            continue
        if found >= MIN_AREA:
            break
        left.discard(at)
        before[after[at]], after[before[at]] = before[at], after[at]
        for other in (before[at], after[at]):
            if 0 < other < len(line) - 1:
                heapq.heappush(heap, (weight(other), other))
    return [arc[at] for at in sorted(left)]


def cut(ring: Ring) -> list[Ring]:
    """A ring that goes across the edge of the picture, at 180 degrees, as two of them, one at each edge."""
    whole = [ring[0]]
    for x, y in ring[1:]:
        whole.append((x + 360 * round((whole[-1][0] - x) / 360), y))
    east, west = max(x for x, _ in whole), min(x for x, _ in whole)
    if east <= 180 and west >= -180:
        return [whole]
    edge = 180 if east > 180 else -180
    inner, outer = _one_side(whole, edge, edge < 0), _one_side(whole, edge, edge > 0)
    return [part for part in (inner, [(x - 2 * edge, y) for x, y in outer]) if len(part) > 2]


def _one_side(ring: Ring, edge: float, beyond: bool) -> Ring:
    """What of a ring lies east of a meridian (``beyond``), or west of it (Sutherland, Hodgman 1974)."""
    found: Ring = []
    for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
        in0, in1 = (x0 >= edge) == beyond or x0 == edge, (x1 >= edge) == beyond or x1 == edge
        if in0 != in1:
            found.append((edge, y0 + (y1 - y0) * (edge - x0) / (x1 - x0)))
        if in1:
            found.append((x1, y1))
    return [*found, found[0]] if found else []


def drawn(rings: Iterable[Ring]) -> str:
    """An SVG path in whole numbers, as short as it can be written."""
    return "".join(filter(None, map(_ring, rings)))


def _ring(points: Ring) -> str:
    whole = [(round(x), round(y)) for x, y in points]
    steps = [(x1 - x0, y1 - y0) for (x0, y0), (x1, y1) in pairwise(whole)]
    steps = [step for step in steps if step != (0, 0)][:-1]  # z goes back to the first
    if len(steps) < 2:
        return ""
    text = f"M{whole[0][0]} {whole[0][1]}l"
    for at, number in enumerate(number for step in steps for number in step):
        text += f"{number}" if number < 0 or at == 0 else f" {number}"
    return f"{text}z"


def outlines(atlas: Atlas, codes: Mapping[str, str]) -> dict[str, list[tuple[float, list[Ring]]]]:
    """Polygons by code, each with the area of its largest part; under "" what has none."""
    arcs = [simplified(arc) for arc in atlas.arcs]
    found: dict[str, list[tuple[float, list[Ring]]]] = {}
    for country in atlas.countries:
        own = codes.get(country.get("id", ""), UNCODED.get(country["properties"]["name"], ""))
        if own == "AQ":
            continue
        for polygon in atlas.polygons(country):
            code, goes = MOVED.get(own, ("", lambda _: False))
            lies = middle(atlas.ring(polygon[0], atlas.arcs))
            rings = [[pictured(p) for p in part] for ring in polygon for part in cut(atlas.ring(ring, arcs))]
            found.setdefault(code if goes(lies) else own, []).append((max(map(area, rings)), rings))
    return found


def _worth(polygons: Sequence[tuple[float, list[Ring]]]) -> list[Ring]:
    """The rings of those that are large enough to be seen, and of the largest in any case."""
    largest = max(size for size, _ in polygons)
    return [ring for size, rings in polygons if size >= min(MIN_ISLAND, largest) for ring in rings]


def dots(atlas: Atlas, codes: Mapping[str, str], missing: set[str]) -> dict[str, list[int]]:
    """Where those are that are too small to be drawn: the middle of their largest island."""
    found = {code: PLACES[code] for code in missing & set(PLACES)}
    for country in atlas.countries:
        code = codes.get(country.get("id", ""), "")
        if code in missing and code not in found:
            rings = [atlas.ring(polygon[0], atlas.arcs) for polygon in atlas.polygons(country)]
            found[code] = middle(max(rings, key=area))
    return {code: [round(number) for number in pictured(place)] for code, place in found.items()}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="the folder of world-atlas")
    package = parser.parse_args().package
    codes = {CODES[at + 2 : at + 5]: CODES[at : at + 2] for at in range(0, len(CODES), 5)}
    found = outlines(Atlas(package / "countries-110m.json"), codes)
    paths = {code: drawn(_worth(polygons)) for code, polygons in found.items()}
    largest = {
        code: max((ring for _, rings in polygons for ring in rings), key=area) for code, polygons in found.items()
    }
    missing = {code for code in codes.values() if not paths.get(code)}
    world = {
        "width": WIDTH,
        "height": HEIGHT,
        "other": paths.pop("", ""),
        "paths": {code: path for code, path in sorted(paths.items()) if path},
        "middles": {code: [*map(round, centre(largest[code]))] for code, path in sorted(paths.items()) if path},
        "dots": dict(sorted(dots(Atlas(package / "countries-10m.json"), codes, missing).items())),
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(world, separators=(",", ":")) + "\n")
    print(f"{OUT}: {OUT.stat().st_size} bytes, {len(world['paths'])} outlines, {len(world['dots'])} dots")


if __name__ == "__main__":
    main()
