"""Which paths and link targets a manifest may hold (docs/spec/storage.md section 5).

Pure checks, used on the way in and out, and by a publisher to say beforehand what cannot be published.
"""

MAX_PATH_BYTES = 4096
MAX_COMPONENT_BYTES = 255
MAX_COMPONENTS = 256
_NO_NAMES = frozenset((b"", b".", b".."))


def path_problem(path: bytes) -> str | None:
    """What forbids ``path`` in a manifest."""
    if not 1 <= len(path) <= MAX_PATH_BYTES:
        return f"a path has 1 to {MAX_PATH_BYTES} bytes, got {len(path)}"
    if b"\0" in path:
        return "a path holds NUL"
    components = path.split(b"/")
    if len(components) > MAX_COMPONENTS:
        return f"a path has at most {MAX_COMPONENTS} components, got {len(components)}"
    if not _NO_NAMES.isdisjoint(components):
        return "a path is absolute or holds an empty, '.' or '..' component"
    if (longest := max(map(len, components))) > MAX_COMPONENT_BYTES:
        return f"a path component has at most {MAX_COMPONENT_BYTES} bytes, got {longest}"
    return None


def target_problem(path: bytes, target: bytes) -> str | None:
    """What forbids ``target`` for a symbolic link at ``path``.

    ``..`` may only begin a target. There it leads through folders of the deposit; behind a name, which may be
    a link itself, it could lead anywhere.
    """
    if not 1 <= len(target) <= MAX_PATH_BYTES:
        return f"a link target has 1 to {MAX_PATH_BYTES} bytes, got {len(target)}"
    if b"\0" in target or target.startswith(b"/"):
        return "a link target is absolute or holds NUL"
    components = [part for part in target.split(b"/") if part not in (b"", b".")]
    ups = components.count(b"..")
    if any(part != b".." for part in components[:ups]):
        return "a link target goes up again after a name"
    if path.count(b"/") - ups < 1:
        return "a link target leaves the published folder"
    return None
