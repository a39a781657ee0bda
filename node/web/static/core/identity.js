/** Ed25519 identities and signed bodies (docs/spec/crypto.md section 3). */

import { concat, equal, utf8 } from "./bytes.js";
import { BadSignature, Malformed, Unsupported, WrongNetwork } from "./errors.js";
import { decode, encode } from "./msgpack.js";
import { subtle } from "./seal.js";

const SIGNATURE_BYTES = 64;
/** PKCS #8 around the seed of an Ed25519 key (RFC 8410). */
const PKCS8 = Uint8Array.of(48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32);

function message(label, body) {
  return concat(utf8(`archipel 1 ${label}\0`), body);
}

async function imported(...parameters) {
  try {
    return await subtle().importKey(...parameters);
  } catch (error) {
    if (error.name !== "NotSupportedError") throw error;
    throw new Unsupported("this browser knows no Ed25519 signatures: a newer one does", { cause: error });
  }
}

/** A key pair that signs. */
export class Identity {
  #secret;

  /** Use `Identity.of`. */
  constructor(key, secret) {
    this.key = key;
    this.#secret = secret;
  }

  /** @param {Uint8Array} seed 32 secret bytes  @returns {Promise<Identity>} whose `key` is the public key */
  static async of(seed) {
    const secret = await imported("pkcs8", concat(PKCS8, seed), "Ed25519", true, ["sign"]);
    const { x } = await subtle().exportKey("jwk", secret);
    const key = Uint8Array.from(atob(x.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
    return new Identity(key, secret);
  }

  /** @returns {Promise<Uint8Array>} a signed body, made of an object that names this identity's key */
  async signBody(shape, label, object) {
    const body = encode(shape, object);
    const signature = await subtle().sign("Ed25519", this.#secret, message(label, body));
    return concat(new Uint8Array(signature), body);
  }
}

/**
 * Checks a signature. The key must be one that an identity can have, or one that the caller does not choose by.
 *
 * @throws {BadSignature} it was not made by `key` over this label and body
 */
export async function verify(key, label, body, signature) {
  let valid = false;
  try {
    const known = await imported("raw", key, "Ed25519", false, ["verify"]);
    valid = await subtle().verify("Ed25519", known, signature, message(label, body));
  } catch (error) {
    if (error.name !== "DataError") throw error;
  }
  if (!valid) throw new BadSignature(`bad ${label} signature`);
}

/**
 * Decodes a signed body and checks its signature and its network.
 *
 * @param shape of the body, with the fields `network` and `key`
 * @throws {Malformed} too long, or not of this shape; as BadSignature, WrongNetwork
 */
export async function openBody(shape, label, data, network, maxBytes) {
  if (data.length > maxBytes || data.length <= SIGNATURE_BYTES) {
    throw new Malformed(`a ${label} has ${SIGNATURE_BYTES + 1} to ${maxBytes} bytes, got ${data.length}`);
  }
  const body = data.subarray(SIGNATURE_BYTES);
  const object = decode(shape, body);
  await verify(object.key, label, body, data.subarray(0, SIGNATURE_BYTES));
  if (!equal(object.network, network)) throw new WrongNetwork(`a ${label} of another network`);
  return object;
}
