/** Which public keys there can be: points of Ed25519's prime-order subgroup (docs/spec/crypto.md section 7). */

const P = 2n ** 255n - 19n;
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const ROOT_OF_MINUS_ONE = power(2n, (P - 1n) / 4n);

function mod(value) {
  const rest = value % P;
  return rest < 0n ? rest + P : rest;
}

function power(base, exponent) {
  let result = 1n;
  for (let square = base, left = exponent; left > 0n; left >>= 1n, square = mod(square * square)) {
    if (left & 1n) result = mod(result * square);
  }
  return result;
}

/** The point in extended coordinates, or null (RFC 8032 section 5.1.3). */
function decompress(key) {
  let y = 0n;
  for (const byte of key.toReversed()) y = (y << 8n) | BigInt(byte);
  const odd = y >> 255n;
  y &= 2n ** 255n - 1n;
  if (y >= P) return null;
  const u = mod(y * y - 1n), v = mod(D * y * y + 1n);
  let x = mod(u * v ** 3n * power(mod(u * v ** 7n), (P - 5n) / 8n));
  if (mod(v * x * x) !== u) x = mod(x * ROOT_OF_MINUS_ONE);
  if (mod(v * x * x) !== u || (x === 0n && odd)) return null;
  if ((x & 1n) !== odd) x = P - x;
  return [x, y, 1n, mod(x * y)];
}

/** The sum of two points, which may be the same (RFC 8032 section 5.1.4). */
function add([x1, y1, z1, t1], [x2, y2, z2, t2]) {
  const a = mod((y1 - x1) * (y2 - x2)), b = mod((y1 + x1) * (y2 + x2));
  const c = mod(2n * D * t1 * t2), d = mod(2n * z1 * z2);
  const e = b - a, f = d - c, g = d + c, h = b + a;
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}

/**
 * Whether some identity may have this public key; some 5 ms.
 *
 * @param {Uint8Array} key 32 bytes
 */
export function isPublicKey(key) {
  const point = key.length === 32 ? decompress(key) : null;
  if (point === null || point[0] === 0n) return false;
  let sum = [0n, 1n, 1n, 0n];
  for (let bit = 252n; bit >= 0n; bit--) {
    sum = add(sum, sum);
    if ((ORDER >> bit) & 1n) sum = add(sum, point);
  }
  return sum[0] === 0n && sum[1] === sum[2];
}
