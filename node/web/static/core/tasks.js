/** The work that a worker does: whatever hashes or seals much. */

import { openBlocks, sealSegment, segmentKey } from "./seal.js";

export const tasks = {
  /** As `openBlocks`; `sealed` is given away. */
  async open({ sealed, ...run }) {
    const result = await openBlocks(sealed, run);
    return { result, transfer: [result.buffer] };
  },

  /** As `sealSegment`, under `key`, or without one under the key that `secret` gives; `plaintext` is given away. */
  async seal({ plaintext, secret, key = segmentKey(secret, plaintext), shares, room }) {
    const { id, descriptor, data } = await sealSegment(plaintext, key, shares, room);
    return { result: { id, key, descriptor, data, length: plaintext.length }, transfer: [data.buffer] };
  },
};
