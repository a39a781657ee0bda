/** Names: reading what was published by key (docs/spec/names.md). Nothing here writes one. */

import { digest } from "./blake3.js";
import { bigEndian, concat, equal } from "./bytes.js";
import { Integrity, Malformed, NotFound } from "./errors.js";
import { openBody } from "./identity.js";
import { bigUint, bin, decode, encode, struct, uint } from "./msgpack.js";
import { BlockCipher, commitment } from "./seal.js";

const MAX_RECORD_BYTES = 900;
const MAX_RECORDS = 256;
const U64 = 2n ** 64n - 1n;
const RECORD = struct({
  version: uint(1, 1),
  network: bin(32),
  key: bin(32),
  salt: bin(0, 64),
  sequence: bigUint(2n ** 63n - 1n, 1n),
  expiry: bigUint(U64),
  nonce: bin(16),
  commitment: bin(32),
  sealed: bin(17, 512),
});
const VALUE = struct({
  number: uint(2 ** 32 - 1, 1),
  kind: uint(2, 1),
  root: bin(32),
  key: bin(32),
  time: bigUint(U64),
  previous: bin(0, 32),
});

/** @returns {Uint8Array} where the records under `salt` (empty: the newest version) of a public key are kept */
export function nameId(key, salt = new Uint8Array()) {
  return digest("name", key, salt);
}

/** @returns {Uint8Array} the salt of the archived copy of version `number` */
export function archiveSalt(number) {
  return bigEndian(number, 4);
}

/** @returns {Uint8Array} what the version after it names as previous */
export function versionHash(value) {
  return digest("name version", encode(VALUE, value));
}

/** @returns {Uint8Array} of two records with one sequence, the one for which this is lower is shown */
export function forkRank(data) {
  return digest("name record", data);
}

/** Checks and reads a record of a network. Throws Malformed, BadSignature, WrongNetwork. */
export function openRecord(data, network) {
  return openBody(RECORD, "name", data, network, MAX_RECORD_BYTES);
}

/**
 * The value of a record that `openRecord` has accepted.
 *
 * @param record
 * @param {{name: Uint8Array, readKey: Uint8Array}} link a name link
 * @returns {Promise<object>} number, kind (1 read, 2 verify), root, key, time (s since 1970), previous
 * @throws {Integrity} of another name, or sealed under another key; as Malformed: it is no value
 */
export async function openValue(record, { name, readKey }) {
  const key = digest("name value", readKey, concat(record.nonce, bigEndian(record.sequence, 8), record.salt));
  if (!equal(record.key, name) || !equal(record.commitment, commitment(key))) {
    throw new Integrity("a record of another name, or one sealed under another read key");
  }
  const packed = await (await BlockCipher.of(key)).open(0, true, record.sealed);
  const value = decode(VALUE, packed);
  if (value.previous.length !== (value.number > 1 ? 32 : 0)) {
    throw new Malformed("a name's value names a previous one wrongly");
  }
  if (!equal(encode(VALUE, value), packed)) throw new Malformed("a name's value is not in its shortest form");
  if (record.salt.length && !equal(record.salt, archiveSalt(value.number))) {
    throw new Malformed("a record holds one version, and says another");
  }
  return value;
}

/**
 * The newest version of a name among records that nodes gave, whoever they are.
 *
 * @param {Uint8Array[]} records as they came
 * @param {object} link the name link
 * @param {object} terms
 * @param {Uint8Array} terms.network network id
 * @param {number} terms.now seconds since 1970 UTC
 * @returns {Promise<{link: object, number: number, time: bigint, sequence: bigint, fork: boolean}>} the link of the
 *   version, and whether another of the same sequence was put too
 * @throws {NotFound} none of them is a valid one that has not expired
 */
export async function newest(records, link, { network, now }) {
  const found = [];
  for (const data of records.slice(0, MAX_RECORDS)) {
    try {
      const record = await openRecord(data, network);
      if (record.salt.length || record.expiry <= BigInt(Math.floor(now))) continue;
      found.push({ record, value: await openValue(record, link), rank: forkRank(data) });
    } catch (error) {
      if (!(error instanceof Integrity)) throw error;
    }
  }
  if (!found.length) throw new NotFound("nothing is published under this name, or it has expired");
  const sequence = found.reduce((most, { record }) => (record.sequence > most ? record.sequence : most), 0n);
  const shown = found.filter(({ record }) => record.sequence === sequence);
  shown.sort((one, other) => compare(one.rank, other.rank));
  const { value } = shown[0];
  const fork = shown.some((one) => !equal(versionHash(one.value), versionHash(value)));
  const opened = { kind: value.kind === 1 ? "read" : "verify", root: value.root, key: value.key };
  return { link: opened, number: value.number, time: value.time, sequence, fork };
}

function compare(one, other) {
  const at = one.findIndex((byte, index) => byte !== other[index]);
  return at < 0 ? 0 : one[at] - other[at];
}
