// A folder as one .zip, made while it is read: stored, not compressed, with names in UTF-8 (PKWARE APPNOTE 6.3.10).
// What is in it is known before, so that its length is too; of a file's checksum the descriptor behind it tells.

const LARGE = 0xffffffff;
const MANY = 0xffff;
const VERSION = 45;
const FLAGS = 0x0808; // the checksum comes behind the file; names are UTF-8
const MODES = { file: 0o100644, executable: 0o100755, folder: 0o040755, symlink: 0o120777 };

/**
 * @typedef {object} Member
 * @property {string} path with "/" between components
 * @property {"file"|"folder"|"symlink"} kind
 * @property {number} size bytes of the file, or of the symlink's target
 * @property {boolean} [executable]
 * @property {number} mtime seconds since 1970 UTC
 */

const TABLES = (() => {
  const tables = Array.from({ length: 8 }, () => new Uint32Array(256));
  for (let byte = 0; byte < 256; byte += 1) {
    let value = byte;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    tables[0][byte] = value;
  }
  for (let byte = 0; byte < 256; byte += 1) {
    for (let at = 1; at < 8; at += 1) tables[at][byte] = (tables[at - 1][byte] >>> 8) ^ tables[0][tables[at - 1][byte] & 255];
  }
  return tables;
})();

/** CRC-32 of what came before (0 at first) and `data` behind it; eight bytes at a time. */
export function crc32(before, data) {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES;
  let crc = ~before;
  let at = 0;
  for (const end = data.length - 7; at < end; at += 8) {
    const low = crc ^ (data[at] | (data[at + 1] << 8) | (data[at + 2] << 16) | (data[at + 3] << 24));
    crc = t7[low & 255] ^ t6[(low >>> 8) & 255] ^ t5[(low >>> 16) & 255] ^ t4[low >>> 24]
      ^ t3[data[at + 4]] ^ t2[data[at + 5]] ^ t1[data[at + 6]] ^ t0[data[at + 7]];
  }
  for (; at < data.length; at += 1) crc = (crc >>> 8) ^ t0[(crc ^ data[at]) & 255];
  return ~crc >>> 0;
}

/** A little-endian record of [bytes, value] pairs, and raw bytes. */
function record(...fields) {
  const size = fields.reduce((sum, field) => sum + (field instanceof Uint8Array ? field.length : field[0]), 0);
  const data = new Uint8Array(size);
  let at = 0;
  for (const field of fields) {
    if (field instanceof Uint8Array) {
      data.set(field, at);
      at += field.length;
    } else {
      for (let [left, value] = field; left > 0; left -= 1, value = Math.floor(value / 256)) data[at++] = value % 256;
    }
  }
  return data;
}

const capped = (value) => Math.min(value, LARGE);
/** What Windows would take for another folder or a drive stands there as a sign that looks alike. */
const harmless = (path) => path.replaceAll("\\", "\uff3c").replace(/^([A-Za-z]):/, "$1\uff1a");
const nameOf = ({ path, kind }) => new TextEncoder().encode(kind === "folder" ? `${harmless(path)}/` : harmless(path));
const isLarge = ({ size }) => size >= LARGE;

/** [time, date] as MS-DOS has them, in UTC: nobody's time zone. */
function dosTime(seconds) {
  const time = new Date(1000 * Math.min(Math.max(seconds, 315532800), 4354819198)); // 1980 to 2107
  return [
    (time.getUTCHours() << 11) | (time.getUTCMinutes() << 5) | (time.getUTCSeconds() >> 1),
    ((time.getUTCFullYear() - 1980) << 9) | ((time.getUTCMonth() + 1) << 5) | time.getUTCDate(),
  ];
}

function unixTime({ mtime }) {
  const whole = Math.floor(mtime);
  return whole < 0 || whole > 0x7fffffff ? new Uint8Array() : record([2, 0x5455], [2, 5], [1, 1], [4, whole]);
}

function header(member) {
  const name = nameOf(member);
  const sizes = isLarge(member) ? record([2, 1], [2, 16], [8, member.size], [8, member.size]) : new Uint8Array();
  const extra = record(sizes, unixTime(member));
  const [time, date] = dosTime(member.mtime);
  return record([4, 0x04034b50], [2, VERSION], [2, FLAGS], [2, 0], [2, time], [2, date], [4, 0], [4, capped(member.size)],
    [4, capped(member.size)], [2, name.length], [2, extra.length], name, extra);
}

function descriptor(member, crc) {
  const bytes = isLarge(member) ? 8 : 4;
  return record([4, 0x08074b50], [4, crc], [bytes, member.size], [bytes, member.size]);
}

function listed(member, crc, offset) {
  const name = nameOf(member);
  const beyond = [...(isLarge(member) ? [[8, member.size], [8, member.size]] : []), ...(offset >= LARGE ? [[8, offset]] : [])];
  const large = beyond.length ? record([2, 1], [2, 8 * beyond.length], ...beyond) : new Uint8Array();
  const extra = record(large, unixTime(member));
  const [time, date] = dosTime(member.mtime);
  const mode = MODES[member.kind === "file" && member.executable ? "executable" : member.kind];
  const attributes = mode * 65536 + (member.kind === "folder" ? 16 : 0);
  return record([4, 0x02014b50], [2, (3 << 8) | VERSION], [2, VERSION], [2, FLAGS], [2, 0], [2, time], [2, date], [4, crc],
    [4, capped(member.size)], [4, capped(member.size)], [2, name.length], [2, extra.length], [2, 0], [2, 0], [2, 0],
    [4, attributes], [4, capped(offset)], name, extra);
}

function ending(count, size, offset) {
  const parts = [];
  if (count >= MANY || size >= LARGE || offset >= LARGE) {
    parts.push(record([4, 0x06064b50], [8, 44], [2, (3 << 8) | VERSION], [2, VERSION], [4, 0], [4, 0], [8, count], [8, count], [8, size], [8, offset]));
    parts.push(record([4, 0x07064b50], [4, 0], [8, offset + size], [4, 1]));
  }
  parts.push(record([4, 0x06054b50], [2, 0], [2, 0], [2, Math.min(count, MANY)], [2, Math.min(count, MANY)], [4, capped(size)], [4, capped(offset)], [2, 0]));
  return record(...parts);
}

/** Bytes of the .zip of these members. */
export function zipSize(members) {
  let offset = 0;
  let directory = 0;
  for (const member of members) {
    directory += listed(member, 0, offset).length;
    offset += header(member).length + member.size + descriptor(member, 0).length;
  }
  return offset + directory + ending(members.length, directory, offset).length;
}

/**
 * The .zip of `members`, part by part.
 * @param {Member[]} members
 * @param {(member: Member) => AsyncIterable<Uint8Array>} read exactly `size` bytes of each but folders; asked in their order
 */
export async function* zip(members, read) {
  const directory = [];
  let offset = 0;
  for (const member of members) {
    const head = header(member);
    const { length } = head;
    yield head; // which is the caller's from now on
    let crc = 0;
    let size = 0;
    if (member.size) {
      for await (const part of read(member)) {
        crc = crc32(crc, part);
        size += part.length;
        yield part;
      }
    }
    if (size !== member.size) throw new Error(`${member.path} has ${size} bytes, not ${member.size}`);
    directory.push(listed(member, crc, offset));
    const tail = descriptor(member, crc);
    offset += length + size + tail.length;
    yield tail;
  }
  const size = directory.reduce((sum, one) => sum + one.length, 0);
  yield* directory;
  yield ending(members.length, size, offset);
}
