"""Storage nodes keeping each other's chunks alive: no coordinator, no owner online, no key (docs/spec/healing.md)."""
