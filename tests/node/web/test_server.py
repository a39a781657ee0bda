"""The HTTP server on real sockets."""

from functools import partial

import trio
import trio.testing

from node.net.transport import SystemTransport
from node.serving.admission import Connections
from node.web.server import bind, serve_site
from node.web.site import own_site
from protocol.ids import Address
from tests.node.web.asking import parts_of

ROOM = 2


async def test_who_hangs_up_makes_room_for_another(nursery: trio.Nursery) -> None:
    """And not only after the half minute for which the next request would be waited for."""
    listener, address = await bind(SystemTransport(), Address("127.0.0.1", 0))
    app = own_site(parts_of(), {}, address)
    await nursery.start(partial(serve_site, app, listener, Connections(total=ROOM)))
    for _ in range(5 * ROOM):
        with trio.fail_after(10):
            answer = b""
            while not answer.startswith(b"HTTP/1.1 200"):  # the one before may be seen to have gone a moment later
                stream = await trio.open_tcp_stream(address.host, address.port)
                try:
                    await stream.send_all(b"HEAD /openapi.json HTTP/1.1\r\nHost: %s\r\n\r\n" % str(address).encode())
                    answer = bytes(await stream.receive_some())
                    await trio.testing.wait_all_tasks_blocked()  # the server waits for the next request
                except trio.BrokenResourceError:
                    answer = b""
                finally:
                    await stream.aclose()
    nursery.cancel_scope.cancel()


async def test_an_answer_before_the_body_has_come(nursery: trio.Nursery) -> None:
    """The rest of a body is taken though nobody wants it: the client reads the answer, and nothing stays behind."""
    listener, address = await bind(SystemTransport(), Address("127.0.0.1", 0))
    room = Connections(total=ROOM)
    await nursery.start(partial(serve_site, own_site(parts_of(), {}, address), listener, room))
    size = 8 << 20
    head = f"POST /v1/drive/folders HTTP/1.1\r\nHost: {address}\r\nContent-Length: {size}\r\n\r\n".encode()
    for _ in range(2 * ROOM):
        with trio.fail_after(10):
            async with await trio.open_tcp_stream(address.host, address.port) as stream:
                await stream.send_all(head + bytes(size))
                assert bytes(await stream.receive_some()).startswith(b"HTTP/1.1 401")
            await emptied(room)
    with trio.fail_after(10):  # who hangs up in the middle of it
        async with await trio.open_tcp_stream(address.host, address.port) as stream:
            await stream.send_all(head + bytes(size // 2))
        await emptied(room)
    nursery.cancel_scope.cancel()


async def emptied(room: Connections) -> None:
    while room.open:  # noqa: ASYNC110 - nobody tells
        await trio.sleep(0.01)


async def test_there_is_http_1_alone(nursery: trio.Nursery) -> None:
    """Hypercorn never ends what was asked by HTTP/2 on a connection that has broken."""
    listener, address = await bind(SystemTransport(), Address("127.0.0.1", 0))
    room = Connections(total=ROOM)
    await nursery.start(partial(serve_site, own_site(parts_of(), {}, address), listener, room))
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    for asked in (
        b"GET /openapi.json HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (str(address).encode(), upgrade),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]),
    ):
        with trio.fail_after(10):
            async with await trio.open_tcp_stream(address.host, address.port) as stream:
                await stream.send_all(asked)
                assert bytes(await stream.receive_some(13)) in (b"HTTP/1.1 200 ", b"HTTP/1.1 421 ", b"HTTP/1.1 400 ")
            await emptied(room)
    nursery.cancel_scope.cancel()
