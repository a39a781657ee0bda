"""What a storage node is started with, and what it says once it runs."""

from dataclasses import asdict, dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path

from node.errors import ConfigError
from node.home import Home
from node.intervals import Intervals
from node.net.transport import is_unspecified
from node.serving.limits import Limits, read_kept
from node.store.shares import DEFAULT_SHARE
from protocol.ids import Address, NodeId
from protocol.records import is_country


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """A page for everybody, which opens links (docs/operations.md, "A public gateway")."""

    address: Address
    """Where to serve it; port 0: any."""
    certificate: Path | None = None
    """Its TLS certificate with the chain, PEM; None: it is served without TLS, to a reverse proxy."""
    key: Path | None = None
    """The certificate's private key, PEM."""
    uploads: bool = False
    """Whether it takes segments that were sealed in a browser."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("a certificate and its key go together: --gateway-cert and --gateway-key")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """What a node needs to know."""

    data: Path
    """The data folder, of this node alone."""
    listen: Address
    """Where to listen, by UDP and TCP alike; port 0: any that is free."""
    advertise: Address | None = None
    """Where peers reach the node; None: the listening address, or where peers see it when it listens everywhere."""
    country: str = ""
    """Claimed, two upper-case letters; empty for unknown."""
    quota_bytes: int
    """What chunk and lease files may take."""
    depositor_share: float = DEFAULT_SHARE
    """Of the quota, what the chunks of one depositor may take: above 0, at most 1."""
    subnet_share: float = DEFAULT_SHARE
    """The same for chunks that come from one public /24 or /48."""
    allow: Path | None = None
    """A list of the depositors whose leases are taken (node/serving/policy.py); None: everybody's."""
    deny: Path | None = None
    """A list of the segments and depositors for which nothing is kept."""
    up_bytes_per_second: int | None = None
    """What it may send, by TCP and UDP together; None: no limit."""
    down_bytes_per_second: int | None = None
    """What it may receive; likewise."""
    network: str = "archipel"
    """Name of the network."""
    join: tuple[Address, ...] = ()
    """Nodes to join by."""
    intervals: Intervals = field(default_factory=Intervals)
    """How often it does what it does unasked."""
    home: Home | None = None
    """Of whose account the drive is kept (node/drive/caretaker.py); None: nobody's."""
    metrics: Address | None = None
    """Where /metrics is served, by HTTP; None: nowhere."""
    http: Address | None = None
    """Where the node's own page is served, a loopback address; None: nowhere. Port 0: any."""
    http_wanted: bool = True
    """Whether a node that cannot serve its page there is not to run."""
    gateway: GatewayConfig | None = None
    """A page for everybody; None: none."""

    given: frozenset[str] = frozenset()
    """Limits (node/serving/limits.py) that the command line names: these are not taken from the data folder."""

    @property
    def limits(self) -> Limits:
        """Those that can be changed while the node runs. Raises ConfigError: they cannot be."""
        return Limits(
            quota_bytes=self.quota_bytes,
            up_bytes_per_second=self.up_bytes_per_second,
            down_bytes_per_second=self.down_bytes_per_second,
        )

    def with_kept(self) -> "NodeConfig":
        """With the limits that were changed while the node ran before. Blocks. Raises MachineError: as read_kept."""
        kept = {name: value for name, value in read_kept(self.data).items() if name not in self.given}
        return replace(self, **asdict(self.limits.changed(kept)))

    def __post_init__(self) -> None:
        _ = self.limits  # which raises where there can be none such
        if self.country and not is_country(self.country):
            raise ConfigError(f"a country is two upper-case letters, such as NZ, got {self.country!r}")
        if not (0 < self.depositor_share <= 1 and 0 < self.subnet_share <= 1):
            raise ConfigError(f"a share is above 0 and at most 1, got {self.depositor_share} and {self.subnet_share}")
        if self.advertise is not None and (not self.advertise.port or is_unspecified(self.advertise.host)):
            raise ConfigError(f"peers cannot reach {self.advertise}", hint="name one address and its port")
        if self.http is not None and not ip_address(self.http.host).is_loopback:
            raise ConfigError(
                f"the node's own page is for this machine alone, got {self.http}",
                hint="an address such as 127.0.0.1:8420; from elsewhere reach it by `ssh -L 8420:127.0.0.1:8420`",
            )


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a node says when it is ready."""

    node_id: NodeId
    listening: Address
    """Where it listens, with the real port."""
    address: Address
    """Where peers reach it."""
    country: str
    quota_bytes: int
    used_bytes: int
    http: Address | None
    """Where its page is, with the real port; None: nowhere."""
    gateway: Address | None
    """The same of the page for everybody."""
    storing: bool
    """False: it has not been found reachable, or knows nobody yet; it goes on trying."""
