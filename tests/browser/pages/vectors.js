// The vectors of tests/vectors that concern what the page does, one operation each, and what the errors are called here.

import { digest, plainDigest } from "/core/blake3.js";
import { bytesOf, hex, unhex } from "/core/bytes.js";
import { parityCells } from "/core/erasure.js";
import { Identity, verify } from "/core/identity.js";
import { openLease } from "/core/lease.js";
import { formatLink, parseAccountKey, parseLink, verifyLink } from "/core/links.js";
import { decodeManifest, encodeManifest, openIndex, openRoot, readManifest } from "/core/manifest.js";
import * as names from "/core/names.js";
import * as seal from "/core/seal.js";
import { checkHashes, decodeDescriptor, plan } from "/core/segment.js";

const ERRORS = {
  RemoteProtocolError: "Malformed",
  IntegrityError: "Integrity",
  SignatureError: "BadSignature",
  WrongNetworkError: "WrongNetwork",
  LinkError: "LinkError",
  AccountKeyError: "LinkError",
};

/** Bytes as hex, whole numbers as numbers: what JSON holds. */
function plain(value) {
  if (value instanceof Uint8Array) return hex(value);
  if (typeof value === "bigint") return value.toString();
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]));
  return typeof value === "number" ? value.toString() : value;
}

function shares(text) {
  const [k, n] = text.split("/").map(Number);
  return { k, n };
}

function listing(manifest) {
  return manifest.entries.map((entry) => ({
    path: hex(bytesOf(entry.raw)), kind: entry.kind, size: entry.size, target: hex(bytesOf(entry.target)),
  }));
}

const OPERATIONS = {
  hash({ labels }) {
    const made = Object.entries(labels).map(([label, { parts }]) => [label, { parts, digest: digest(label, ...parts.map(unhex)) }]);
    same(Object.fromEntries(made), labels);
  },

  "segment key"(inputs) {
    const [secret, plaintext] = [unhex(inputs.secret), unhex(inputs.plaintext)];
    const key = seal.segmentKey(secret, plaintext);
    const fresh = seal.segmentKey(seal.freshSecret(secret, unhex(inputs.salt)), plaintext);
    return { key, fresh_key: fresh, commitment: seal.commitment(key) };
  },

  "root keys"({ secret, index, part }) {
    const read_key = seal.readKey(unhex(secret), unhex(index), unhex(part));
    const verify_key = seal.verifyKey(read_key);
    return { read_key, verify_key, root_key: seal.rootKey(verify_key), manifest_key: seal.manifestKey(read_key) };
  },

  async "open block"({ key, block, last, sealed }) {
    const cipher = await seal.BlockCipher.of(unhex(key));
    const plaintext = await cipher.open(block, last, unhex(sealed));
    same(await cipher.seal(block, last, plaintext), sealed);
    return { plaintext };
  },

  async verify({ key, label, message, signature }) {
    await verify(unhex(key), label, unhex(message), unhex(signature));
  },

  async ids({ networks, seed }) {
    for (const { name, difficulty, id } of networks) {
      same(digest("network", Uint8Array.of(difficulty), new TextEncoder().encode(name)), id);
    }
    const { key } = await Identity.of(unhex(seed));
    return { key, node_id: plainDigest(key) };
  },

  layout({ layouts }) {
    for (const expected of layouts) {
      const { k, n } = shares(expected.shares);
      const made = plan(expected.length, k, n);
      const columns = Array.from({ length: made.n }, (_, index) => [made.columnBlocks(index), made.columnBytes(index)]);
      const { blocks, rows } = made;
      same({ length: expected.length, shares: expected.shares, blocks, rows, k: made.k, n: made.n, columns }, expected);
    }
  },

  "code row"({ rows }) {
    for (const { k, n, data, parity } of rows) same(parityCells(data.map(unhex), n, data[0].length / 2), parity);
  },

  async "seal segment"(inputs) {
    const pattern = unhex(inputs.pattern);
    const plaintext = Uint8Array.from({ length: inputs.length }, (_, at) => pattern[at % pattern.length]);
    const key = seal.segmentKey(unhex(inputs.secret), plaintext);
    const made = await seal.sealSegment(plaintext, key, shares(inputs.shares));
    return { key, descriptor: made.descriptor, segment_id: made.id, block_hashes: made.hashes };
  },

  "read descriptor"({ descriptor, segment_id }) {
    decodeDescriptor(unhex(descriptor), segment_id === undefined ? undefined : unhex(segment_id));
  },

  "check hashes"({ descriptor, index, hashes }) {
    checkHashes(decodeDescriptor(unhex(descriptor)), index, unhex(hashes));
  },

  "read manifest"({ manifest }) {
    const read = decodeManifest(unhex(manifest));
    same(encodeManifest(read), manifest);
    return { entries: listing(read) };
  },

  async "open root"({ root, read_key, spilled }) {
    const opened = await openRoot(unhex(root), unhex(read_key));
    same(openIndex(unhex(root)), opened.index);
    const encoded = opened.spill.length ? unhex(spilled) : opened.encoded;
    const index = opened.index.map(({ id, length }) => [id, length]);
    return { index, manifest: encodeManifest(readManifest(opened, encoded)) };
  },

  "parse link"({ link }) {
    const parsed = parseLink(link);
    same(parseLink(formatLink(parsed)), parsed);
    const { kind, name, readKey, root, key, hints } = parsed;
    if (kind === "name") return { kind, name, read_key: readKey, hints };
    return { kind, root, key, hints, verify_link: formatLink(verifyLink(parsed)) };
  },

  /** Sealing and opening for an account is the node's: the page has no account's secret. It reads the word. */
  "seal link"(inputs, { sealed }) {
    const parsed = parseLink(sealed);
    same(parsed.kind, "sealed");
    return { sealed: formatLink(parsed) };
  },

  "account key"({ key }) {
    return { key: parseAccountKey(key) };
  },

  async lease({ network, data }) {
    const { depositor, deposit, segment, size, sequence, expiry, deleted, ...rest } = await openLease(unhex(data), unhex(network));
    const policy = { spread_countries: rest.spreadCountries, avoid: rest.avoid };
    return { network, depositor, deposit, segment, size, sequence, expiry, deleted, policy };
  },

  async keys({ secret, number }) {
    const { key } = await Identity.of(digest("name identity", unhex(secret)));
    const archived = names.nameId(key, names.archiveSalt(number));
    return { public_key: key, read_key: digest("name read", unhex(secret)), head: names.nameId(key), archived };
  },

  async record({ network, key, read_key, record }) {
    const data = unhex(record);
    const opened = await names.openRecord(data, unhex(network));
    const value = await names.openValue(opened, { name: unhex(key), readKey: unhex(read_key) });
    return {
      name_id: names.nameId(opened.key, opened.salt), sequence: opened.sequence, expiry: opened.expiry, value,
      hash: names.versionHash(value), fork_rank: names.forkRank(data),
    };
  },
};

function same(one, other) {
  const [made, expected] = [one, other].map((value) => JSON.stringify(plain(value)));
  if (made !== expected) throw new Error(`got ${made}, want ${expected}`);
}

async function run({ operation, input, expect, output }, text) {
  try {
    const made = await OPERATIONS[operation](input, output);
    if (expect !== "success") return `went well, want ${expect}`;
    same(made ?? null, exact(text).output ?? null);
    return null;
  } catch (error) {
    return error.name === ERRORS[expect] ? null : `want ${expect}, got ${error.stack}`;
  }
}

/** A JSON text with numbers as they are written, that none of them is rounded. */
function exact(text) {
  return JSON.parse(text, (_, value, { source }) => (typeof value === "number" ? source : value));
}

/** @returns what is wrong with each vector, null if nothing is, by name */
export async function runVectors(texts) {
  const told = {};
  for (const [name, text] of Object.entries(texts)) told[name] = await run(JSON.parse(text), text);
  return told;
}
