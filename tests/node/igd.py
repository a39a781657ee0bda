"""A home router's UPnP service on 127.0.0.1: a root description and the few actions that map ports."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.etree import ElementTree

_WAN = "urn:schemas-upnp-org:service:WANIPConnection:1"
_COMMON = "urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1"
_BOX = "<deviceType>urn:schemas-upnp-org:device:{}:1</deviceType>"
_SERVICE = "<service><serviceType>{}</serviceType><controlURL>/control</controlURL><SCPDURL>/scpd</SCPDURL></service>"
ROUTER = (
    f'<root xmlns="urn:schemas-upnp-org:device-1-0"><device>{_BOX.format("InternetGatewayDevice")}<deviceList>'
    f"<device>{_BOX.format('WANDevice')}<serviceList>{_SERVICE.format(_COMMON)}</serviceList><deviceList>"
    f"<device>{_BOX.format('WANConnectionDevice')}<serviceList>{_SERVICE.format(_WAN)}</serviceList></device>"
    "</deviceList></device></deviceList></device></root>"
)
TELEVISION = f'<root xmlns="urn:schemas-upnp-org:device-1-0"><device>{_BOX.format("MediaRenderer")}</device></root>'
_REPLY = '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{}</s:Body></s:Envelope>'
_FAULT = "<s:Fault><detail><UPnPError><errorCode>{}</errorCode></UPnPError></detail></s:Fault>"


@dataclass
class Igd:
    """The router: what it maps, and how it misbehaves."""

    url: str = ""
    description: str = ROUTER
    external: str = "203.0.113.9"
    mappings: dict[tuple[int, str], tuple[str, int, str, int]] = field(default_factory=dict)
    """(port, protocol) to (host, its port, name, seconds of the lease; 0 for ever)."""
    refuses: dict[str, int] = field(default_factory=dict)
    """Protocol to the error code it gets."""
    only_permanent: bool = False
    answers: threading.Event = field(default_factory=threading.Event)
    """Until it is set, nobody gets an answer."""

    def act(self, action: str, given: dict[str, str]) -> dict[str, str] | int:
        """The reply to an action, or the code of its error."""
        key = (int(given.get("NewExternalPort", "0")), given.get("NewProtocol", ""))
        if action == "GetStatusInfo":
            return {"NewConnectionStatus": "Connected", "NewLastConnectionError": "ERROR_NONE", "NewUptime": "1"}
        if action == "GetExternalIPAddress":
            return {"NewExternalIPAddress": self.external}
        if action == "AddPortMapping":
            return self._add(key, given)
        if key not in self.mappings:
            return 714
        if action == "DeletePortMapping":
            del self.mappings[key]
            return {}
        host, port, name, lease = self.mappings[key]
        told = {"NewInternalClient": host, "NewInternalPort": str(port), "NewEnabled": "1"}
        return told | {"NewPortMappingDescription": name, "NewLeaseDuration": str(lease)}

    def _add(self, key: tuple[int, str], given: dict[str, str]) -> dict[str, str] | int:
        lease = int(given["NewLeaseDuration"])
        if key[1] in self.refuses:
            return self.refuses[key[1]]
        if self.only_permanent and lease:
            return 725
        client = given["NewInternalClient"], int(given["NewInternalPort"])
        self.mappings[key] = (*client, given["NewPortMappingDescription"], lease)
        return {}


@contextmanager
def running_igd() -> Iterator[Igd]:
    """A router that works, until told otherwise."""
    igd = Igd()
    igd.answers.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(200, igd.description)

        def do_POST(self) -> None:
            igd.answers.wait()
            body = ElementTree.fromstring(self.rfile.read(int(self.headers["Content-Length"])))
            action = body[0][0]
            name = action.tag.rpartition("}")[2]
            told = igd.act(name, {item.tag: item.text or "" for item in action})
            if isinstance(told, int):
                self._reply(500, _REPLY.format(_FAULT.format(told)))
            else:
                items = "".join(f"<{key}>{value}</{key}>" for key, value in told.items())
                self._reply(200, _REPLY.format(f'<u:{name}Response xmlns:u="{_WAN}">{items}</u:{name}Response>'))

        def _reply(self, code: int, text: str) -> None:
            data = text.encode("latin-1")
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        igd.url = f"http://127.0.0.1:{server.server_port}/root.xml"
        try:
            yield igd
        finally:
            igd.answers.set()
            server.shutdown()
            thread.join()
