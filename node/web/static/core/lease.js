/** Leases: a depositor's signed wish that a segment be kept (docs/spec/storage.md section 7). */

import { openBody } from "./identity.js";
import { bigUint, bin, flag, list, struct, text, uint } from "./msgpack.js";
import { SEGMENT_BYTES } from "./segment.js";

const MAX_LEASE_BYTES = 1024;
const U64 = 2n ** 64n - 1n;
const LEASE = struct({
  version: uint(1, 1),
  network: bin(32),
  key: bin(32),
  deposit: bin(16),
  segment: bin(32),
  size: uint(SEGMENT_BYTES, 1),
  sequence: bigUint(U64),
  expiry: bigUint(U64),
  deleted: flag,
  spread: uint(1),
  avoid: list(32, text(2, /^[A-Z]{2}$/)),
});

/**
 * Signs a lease.
 *
 * @param {Identity} identity the depositor
 * @param {object} lease
 * @param {Uint8Array} lease.network network id
 * @param {Uint8Array} lease.deposit deposit id, 16 bytes
 * @param {Uint8Array} lease.segment segment id
 * @param {number} lease.size bytes of the segment's plaintext
 * @param {number|bigint} lease.sequence of two leases the higher wins
 * @param {number|bigint} lease.expiry seconds since 1970 UTC
 * @param {boolean} [lease.spreadCountries] fill countries evenly
 * @param {string[]} [lease.avoid] claimed countries that get no chunk
 * @returns {Promise<Uint8Array>} at most 1,024 bytes
 */
export function signLease(identity, { spreadCountries = true, avoid = [], ...lease }) {
  const fields = { version: 1, key: identity.key, deleted: false, spread: spreadCountries ? 1 : 0, avoid };
  return identity.signBody(LEASE, "lease", { ...fields, ...lease });
}

/** Checks and reads a lease of a network. Throws Malformed, BadSignature, WrongNetwork. */
export async function openLease(data, network) {
  const { key, spread, version, ...lease } = await openBody(LEASE, "lease", data, network, MAX_LEASE_BYTES);
  return { depositor: key, spreadCountries: spread === 1, ...lease };
}
