"""Vectors of docs/spec/account.md: phrases, derivations, account keys as text, account files. Run by
scripts/make_vectors."""

from collections.abc import Iterator
from typing import Any

from nacl import bindings

from protocol.account import AccountKeys
from protocol.accountfile import FIRST_LINE, AccountFile, Cost
from protocol.hashing import digest
from protocol.identity import Identity

Vector = dict[str, Any]

SECRET = bytes(range(32))
KEYS = AccountKeys(SECRET)
PASSPHRASE = "na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve island"
SALT, NONCE = bytes(range(16)), bytes(range(24))
CHEAP = Cost(1, 8192)
FILE = AccountFile.seal(KEYS, PASSPHRASE, salt=SALT, nonce=NONCE, cost=CHEAP)

_LEGAL = "legal winner thank year wave sausage worth"
_LETTER = "letter advice cage absurd amount doctor acoustic"
OFFICIAL = {
    "zeros": ("00" * 32, " ".join(["abandon"] * 23 + ["art"])),
    "sevens": ("7f" * 32, f"{_LEGAL} useful {_LEGAL} useful {_LEGAL} title"),
    "eights": ("80" * 32, f"{_LETTER} avoid {_LETTER} avoid {_LETTER} bless"),
    "ones": ("ff" * 32, " ".join(["zoo"] * 23 + ["vote"])),
    "hamster": (
        "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c",
        "hamster diagram private dutch cause delay private meat slide toddler razor book "
        "happy fancy gospel tennis maple dilemma loan word shrug inflict delay length",
    ),
    "panda": (
        "9f6a2878b2520799a44ef18bc7df394e7061a224d2c33cd015b157d746869863",
        "panda eyebrow bullet gorilla call smoke muffin taste mesh discover soft ostrich "
        "alcohol speed nation flash devote level hobby quick inner drive ghost inside",
    ),
    "hour": (
        "066dca1a2bb7e8a1db2832148ce9933eea0f3ac9548d793112d9a95c9407efad",
        "all hour make first leader extend hole alien behind guard gospel lava "
        "path output census museum junior mass reopen famous sing advance salt reform",
    ),
    "void": (
        "f585c11aec520db57dd353c69554b21a89b20fb0650966fa0a9d6f74fd989d8f",
        "void come effort suffer camp survey warrior heavy shoot primary clutch crush "
        "open amazing screen patrol group space point ten exist slush involve unfold",
    ),
}
"""Those of BIP 39's own vectors (github.com/trezor/python-mnemonic, vectors.json) that have 24 words."""


def _vector(operation: str, text: str, inputs: Vector, expect: str, output: Vector | None = None) -> Vector:
    vector = {"spec": "docs/spec/account.md", "operation": operation, "description": text, "input": inputs}
    return {**vector, "expect": expect, **({"output": output} if output is not None else {})}


def _phrases() -> Iterator[tuple[str, Vector]]:
    for name, (entropy, phrase) in OFFICIAL.items():
        yield (
            f"account_phrase_{name}",
            _vector("phrase", "of BIP 39's own vectors", {"phrase": phrase}, "success", {"secret": entropy}),
        )
    _, phrase = OFFICIAL["panda"]
    words = phrase.split()
    spaced = "\n " + "\t".join(words[:12]) + "\r\n" + "  ".join(words[12:]).upper() + "\n"
    yield (
        "account_phrase_spaced",
        _vector("phrase", "as people type it", {"phrase": spaced}, "success", {"secret": OFFICIAL["panda"][0]}),
    )
    wrong = {
        "checksum": ("two words are swapped", [words[1], words[0], *words[2:]]),
        "word": ("a word of no list", [*words[:3], "gorila", *words[4:]]),
        "short": ("a word is missing", words[:-1]),
        "long": ("a word too many", [*words, words[0]]),
        "twelve": ("a phrase of BIP 39 with 128 bits", ["abandon"] * 11 + ["about"]),
        "none": ("nothing at all", []),
    }
    for name, (text, changed) in wrong.items():
        yield f"account_phrase_{name}", _vector("phrase", text, {"phrase": " ".join(changed)}, "ConfigError")


def _derivations() -> Iterator[tuple[str, Vector]]:
    labels = ("blog", "\N{LATIN SMALL LETTER I WITH CIRCUMFLEX}le", "x" * 64)
    names = {label: KEYS.name_secret(label).hex() for label in labels}
    output = {
        "identity_seed": digest("account identity", SECRET).hex(),
        "key": KEYS.identity.key.hex(),
        "convergence_secret": KEYS.convergence_secret.hex(),
        "drive_secret": KEYS.drive_secret.hex(),
        "cache_key": KEYS.cache_key.hex(),
        "names": names,
    }
    inputs = {"secret": SECRET.hex(), "labels": list(names)}
    yield "account_keys", _vector("account keys", "everything that is derived", inputs, "success", output)


def mended(content: bytes) -> bytes:
    """As an account file whose last 32 bytes are right."""
    return content + digest("file", content)


def _body(**changed: Any) -> bytes:
    """A file with fields that need not be right; each is as wide as it should be."""
    fields = {name: getattr(FILE, name) for name in ("key", "salt", "passes", "memory_bytes", "nonce", "sealed")}
    fields |= changed
    packed = b"\x96"
    for value in fields.values():
        if isinstance(value, int):
            packed += bytes([value]) if value < 128 else b"\xcf" + value.to_bytes(8, "big")
        else:
            packed += b"\xc4" + bytes([len(value)]) + value
    return mended(FIRST_LINE + packed)


def _wrong_key() -> bytes:
    """It opens, and what is inside is another account's."""
    other = Identity(bytes(32)).key
    wrapping = bindings.crypto_pwhash_alg(32, PASSPHRASE.encode(), SALT, 1, 8192, bindings.crypto_pwhash_ALG_ARGON2ID13)
    sealed = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(SECRET, bytes(other), NONCE, wrapping)
    return _body(key=bytes(other), sealed=sealed)


def _files() -> Iterator[tuple[str, Vector]]:
    good = FILE.encode()

    def file(text: str, expect: str, data: bytes = good, passphrase: str = PASSPHRASE) -> Vector:
        output = {"secret": SECRET.hex(), "key": KEYS.identity.key.hex()} if expect == "success" else None
        return _vector("account file", text, {"file": data.hex(), "passphrase": passphrase}, expect, output)

    yield "account_file", file("of one pass over 8 KiB, as no writer makes it", "success")
    decomposed = PASSPHRASE.replace("\N{LATIN SMALL LETTER I WITH DIAERESIS}", "i\N{COMBINING DIAERESIS}")
    yield "account_file_nfc", file("the passphrase in another normalization form", "success", passphrase=decomposed)
    yield "account_file_passphrase", file("another passphrase", "WrongPassphraseError", passphrase="naive island")
    flipped = bytes([FILE.sealed[0] ^ 1]) + FILE.sealed[1:]
    yield "account_file_sealed", file("a bit of the seal is flipped", "WrongPassphraseError", _body(sealed=flipped))
    renamed = _body(key=bytes(Identity(bytes(32)).key))
    yield "account_file_renamed", file("it names another key", "WrongPassphraseError", renamed)
    yield "account_file_other", file("the secret of another key than it names", "IntegrityError", _wrong_key())
    content = good[:-32]
    for name, text, data in (
        ("flipped", "a bit is flipped", good[:60] + bytes([good[60] ^ 1]) + good[61:]),
        ("end", "a bit of the last 32 bytes is flipped", good[:-1] + bytes([good[-1] ^ 1])),
        ("cut", "the last byte is missing", good[:-1]),
        ("nothing", "an empty file", b""),
        ("empty", "nothing but a hash", mended(b"")),
        ("version", "of version 2", mended(content.replace(b"account 1\n", b"account 2\n"))),
        ("trailing", "a byte behind the body", mended(content + b"\0")),
        ("huge", "longer than any account file", mended(FIRST_LINE + bytes(500))),
        ("garbage", "a body that is no msgpack", mended(FIRST_LINE + b"\xc1")),
        ("few", "a field is missing", mended(FIRST_LINE + b"\x95" + content[len(FIRST_LINE) + 1 : -50])),
        ("no_passes", "no pass at all", _body(passes=0)),
        ("passes", "more passes than anybody may be made to do", _body(passes=9)),
        ("memory", "more memory than anybody may be made to take", _body(memory_bytes=(1 << 30) + 1)),
        ("little_memory", "less memory than Argon2 takes", _body(memory_bytes=8191)),
        ("salt", "a short salt", _body(salt=SALT[:-1])),
        ("nonce", "a short nonce", _body(nonce=NONCE[:-1])),
        ("short", "a short seal", _body(sealed=FILE.sealed[:-1])),
    ):
        yield f"account_file_{name}", file(text, "RemoteProtocolError", data)


def vectors() -> Iterator[tuple[str, Vector]]:
    """(file stem, content) of every vector."""
    yield from _phrases()
    yield from _derivations()
    yield from _files()
