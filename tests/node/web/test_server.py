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
