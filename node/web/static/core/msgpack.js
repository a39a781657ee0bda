/**
 * The part of msgpack that the formats use: arrays of whole numbers, booleans, byte strings and text
 * (docs/spec/wire.md section 1). Shapes say what may stand where:
 *
 *     const point = struct({ id: bin(32), tags: list(8, text(16)) });
 *     decode(point, bytes)  ->  { id, tags }
 *
 * Values are read one by one as the shapes expect them: nothing nests deeper, holds more or is longer than they say, and
 * no room is made for more than the bytes hold. A reader accepts every form of a value, a writer takes the shortest.
 */

import { Malformed } from "./errors.js";

const fatal = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

class Reader {
  constructor(data) {
    this.data = data;
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.at = 0;
  }

  /** Moves on by `size` bytes; returns where they begin. */
  skip(size) {
    const at = this.at;
    if (at + size > this.data.length) throw new Malformed("cut short");
    this.at = at + size;
    return at;
  }

  byte() {
    return this.data[this.skip(1)];
  }

  size(bytes) {
    const at = this.skip(bytes);
    return bytes === 1 ? this.view.getUint8(at) : bytes === 2 ? this.view.getUint16(at) : this.view.getUint32(at);
  }

  /** A whole number; a BigInt where a Number would not hold it. */
  integer() {
    const first = this.byte();
    if (first < 0x80) return first;
    if (first >= 0xe0) return first - 0x100;
    switch (first) {
      case 0xcc: case 0xcd: case 0xce: return this.size(1 << (first - 0xcc));
      case 0xcf: return small(this.view.getBigUint64(this.skip(8)));
      case 0xd0: return this.view.getInt8(this.skip(1));
      case 0xd1: return this.view.getInt16(this.skip(2));
      case 0xd2: return this.view.getInt32(this.skip(4));
      case 0xd3: return small(this.view.getBigInt64(this.skip(8)));
      default: throw new Malformed("want a whole number");
    }
  }

  /** The length after one of the markers of a type; `short` is 0 or [first marker, how many]. */
  length(markers, short, what) {
    const first = this.byte();
    if (short && first >= short[0] && first < short[0] + short[1]) return first - short[0];
    const width = markers.indexOf(first);
    if (width < 0) throw new Malformed(`want ${what}`);
    return this.size(markers.length === 2 ? 2 << width : 1 << width);
  }
}

function small(value) {
  return BigInt.asIntN(53, value) === value ? Number(value) : value;
}

class Writer {
  constructor() {
    this.data = new Uint8Array(256);
    this.view = new DataView(this.data.buffer);
    this.at = 0;
  }

  skip(size) {
    const at = this.at;
    this.at += size;
    if (this.at > this.data.length) {
      const more = new Uint8Array(Math.max(this.at, 2 * this.data.length));
      more.set(this.data);
      this.data = more;
      this.view = new DataView(more.buffer);
    }
    return at;
  }

  byte(value) {
    const at = this.skip(1); // first: it may put other memory in the place of `data`
    this.data[at] = value;
  }

  marked(marker, bytes, value) {
    const at = this.skip(1 + bytes);
    this.data[at] = marker;
    if (bytes === 1) this.view.setUint8(at + 1, value);
    else if (bytes === 2) this.view.setUint16(at + 1, value);
    else if (bytes === 4) this.view.setUint32(at + 1, value);
    else if (value < 0) this.view.setBigInt64(at + 1, BigInt(value));
    else this.view.setBigUint64(at + 1, BigInt(value));
  }

  integer(value) {
    if (value >= 0) {
      if (value < 0x80) this.byte(Number(value));
      else if (value < 0x100) this.marked(0xcc, 1, Number(value));
      else if (value < 0x10000) this.marked(0xcd, 2, Number(value));
      else if (value < 0x100000000) this.marked(0xce, 4, Number(value));
      else this.marked(0xcf, 8, value);
    } else if (value >= -0x20) this.byte(Number(value) + 0x100);
    else if (value >= -0x80) this.marked(0xd0, 1, Number(value));
    else if (value >= -0x8000) this.marked(0xd1, 2, Number(value));
    else if (value >= -0x80000000) this.marked(0xd2, 4, Number(value));
    else this.marked(0xd3, 8, value);
  }

  length(markers, short, size) {
    if (short && size < short[1]) this.byte(short[0] + size);
    else if (markers.length === 3 && size < 0x100) this.marked(markers[0], 1, size);
    else if (size < 0x10000) this.marked(markers.at(-2), 2, size);
    else this.marked(markers.at(-1), 4, size);
  }

  bytes(data) {
    const at = this.skip(data.length);
    this.data.set(data, at);
  }
}

const BIN = [0xc4, 0xc5, 0xc6], TEXT = [0xd9, 0xda, 0xdb], ARRAY = [0xdc, 0xdd];
const SHORT_TEXT = [0xa0, 32], SHORT_ARRAY = [0x90, 16];

/** A shape whose values are checked alike on the way in and out. */
function checked(check, read, write) {
  return {
    read: (reader) => check(read(reader)),
    write: (writer, value) => write(writer, check(value)),
  };
}

function integers(minimum, maximum, convert) {
  const check = (value) => {
    const whole = typeof value === "bigint" || Number.isInteger(value);
    if (!whole || value < minimum || value > maximum) {
      throw new Malformed(`want a whole number of ${minimum} to ${maximum}`);
    }
    return convert(value);
  };
  return checked(check, (reader) => reader.integer(), (writer, value) => writer.integer(value));
}

/** A Number, minimum <= value <= maximum <= 2^53 - 1. */
export function uint(maximum, minimum = 0) {
  return integers(minimum, maximum, Number);
}

/** A BigInt, minimum <= value <= maximum <= 2^64 - 1. */
export function bigUint(maximum, minimum = 0n) {
  return integers(minimum, maximum, BigInt);
}

/** A BigInt of 64 bits, signed. */
export const int64 = integers(-(2n ** 63n), 2n ** 63n - 1n, BigInt);

/** true or false. */
export const flag = {
  read(reader) {
    const first = reader.byte();
    if (first !== 0xc2 && first !== 0xc3) throw new Malformed("want true or false");
    return first === 0xc3;
  },
  write: (writer, value) => writer.bytes([value ? 0xc3 : 0xc2]),
};

/** A Uint8Array of exactly `minimum` bytes, or of `minimum` to `maximum`; what is read is a view of the input. */
export function bin(minimum, maximum = minimum) {
  const check = (size) => {
    if (size < minimum || size > maximum) throw new Malformed(`want ${minimum} to ${maximum} bytes`);
    return size;
  };
  return {
    read(reader) {
      const size = check(reader.length(BIN, 0, "bytes"));
      const at = reader.skip(size);
      return reader.data.subarray(at, at + size);
    },
    write(writer, value) {
      writer.length(BIN, 0, check(value.length));
      writer.bytes(value);
    },
  };
}

/** Text of at most `maximum` UTF-8 bytes that `pattern` matches. */
export function text(maximum, pattern = /^/) {
  const check = (value) => {
    if (!pattern.test(value)) throw new Malformed(`want text like ${pattern}`);
    return value;
  };
  const checkSize = (size) => {
    if (size > maximum) throw new Malformed(`want text of at most ${maximum} bytes`);
    return size;
  };
  return {
    read(reader) {
      const size = checkSize(reader.length(TEXT, SHORT_TEXT, "text"));
      const at = reader.skip(size);
      try {
        return check(fatal.decode(reader.data.subarray(at, at + size)));
      } catch (error) {
        if (error instanceof TypeError) throw new Malformed("text is not UTF-8", { cause: error });
        throw error;
      }
    },
    write(writer, value) {
      const data = encoder.encode(check(value));
      writer.length(TEXT, SHORT_TEXT, checkSize(data.length));
      writer.bytes(data);
    },
  };
}

/** An array of at most `maximum` values of one shape. */
export function list(maximum, inner) {
  const check = (count) => {
    if (count > maximum) throw new Malformed(`want a list of at most ${maximum}`);
    return count;
  };
  return {
    read(reader) {
      const count = check(reader.length(ARRAY, SHORT_ARRAY, "a list"));
      const values = [];
      for (let index = 0; index < count; index++) values.push(inner.read(reader));
      return values;
    },
    write(writer, values) {
      writer.length(ARRAY, SHORT_ARRAY, check(values.length));
      for (const value of values) inner.write(writer, value);
    },
  };
}

/** An object whose fields stand in an array, in the order given; `make` turns the plain object into another. */
export function struct(fields, make = (object) => object) {
  const named = Object.entries(fields);
  return {
    read(reader) {
      const count = reader.length(ARRAY, SHORT_ARRAY, "an array");
      if (count !== named.length) throw new Malformed(`want ${named.length} fields, got ${count}`);
      const object = {};
      for (const [name, shape] of named) object[name] = shape.read(reader);
      return make(object);
    },
    write(writer, object) {
      writer.length(ARRAY, SHORT_ARRAY, named.length);
      for (const [name, shape] of named) shape.write(writer, object[name]);
    },
  };
}

/**
 * @param shape what the bytes hold
 * @param {Uint8Array} data all of it; the caller has bounded its length
 * @returns the value; byte strings in it are views of `data`
 * @throws {Malformed} not msgpack, trailing bytes, a field missing, too many or out of its range
 */
export function decode(shape, data) {
  const reader = new Reader(data);
  const value = shape.read(reader);
  if (reader.at !== data.length) throw new Malformed("trailing bytes");
  return value;
}

/**
 * @returns {Uint8Array} the value in the shortest form
 * @throws {Malformed} a field is out of its range
 */
export function encode(shape, value) {
  const writer = new Writer();
  shape.write(writer, value);
  return writer.data.slice(0, writer.at);
}
