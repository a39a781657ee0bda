"""Targets: sealed segments as a page sends them, or as a node sends them to a page."""

from collections.abc import Callable
from contextlib import suppress

from protocol.errors import ProtocolError
from protocol.ids import SegmentId
from protocol.seal import code_segment
from protocol.sealedsegment import Head, Upload, encode_upload
from tests.fuzz.corpus import hex_values
from tests.fuzz.target import Target
from tests.vectors.make_web import BODY, NETWORK, SMALL, WHOLE


def _run_upload(data: bytes) -> None:
    with suppress(ProtocolError):
        upload = Upload.decode(data, NETWORK.id, len(data))
        sealed = memoryview(data)[upload.head_bytes :]
        assert encode_upload(upload.descriptor, upload.signed_lease, sealed) == data
        coded = code_segment(upload.descriptor, sealed)
        assert coded.id == SMALL.id  # of no other segment does anybody know a lease


def _run_head(data: bytes) -> None:
    with suppress(ProtocolError):
        head = Head.decode(data, SegmentId(SMALL.id))
        assert data.startswith(head.encode())


def _seeds(name: str, good: bytes) -> Callable[[], list[bytes]]:
    return lambda: [good, *hex_values(f"web_{name}*")]


TARGETS = (
    Target("sealed-upload", _run_upload, _seeds("upload", BODY), 4_000),
    Target("sealed-head", _run_head, _seeds("segment", WHOLE), 4_000),
)
