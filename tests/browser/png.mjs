// Makes a screenshot small: the browser's PNG has three bytes a pixel, where a page has some hundred colours that matter. Here it gets a
// palette of 256; the others, of the edges of letters, become the nearest of them.

import { deflateSync, inflateSync } from 'node:zlib';

const SIGNATURE = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
const COLOURS = 256;
const BYTES = 3;
/** Colours that are nearer than this pass for one another. */
const ALIKE = 250;

/** The PNG (8 bits, no transparency, as browsers write screenshots) with a palette. */
export function withPalette(png) {
  const { width, height, pixels } = decoded(png);
  const palette = frequent(pixels);
  const nearest = finder(palette);
  const rows = Buffer.alloc((width + 1) * height);
  for (let at = 0; at < width * height; at += 1) rows[at + Math.floor(at / width) + 1] = nearest(colourAt(pixels, at));
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  const colours = Buffer.from(palette.flatMap((colour) => [colour >> 16, (colour >> 8) & 255, colour & 255]));
  return Buffer.concat([SIGNATURE, chunk('IHDR', header), chunk('PLTE', colours), chunk('IDAT', deflateSync(rows, { level: 9 })), chunk('IEND', Buffer.alloc(0))]);
}

const colourAt = (pixels, at) => pixels.readUIntBE(at * BYTES, BYTES);

function decoded(png) {
  const data = [];
  let header = null;
  for (let at = SIGNATURE.length; at < png.length;) {
    const length = png.readUInt32BE(at);
    const kind = png.toString('latin1', at + 4, at + 8);
    const body = png.subarray(at + 8, at + 8 + length);
    if (kind === 'IHDR') header = body;
    if (kind === 'IDAT') data.push(body);
    at += length + 12;
  }
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  if (header[8] !== 8 || header[9] !== 2) throw new Error('a PNG of another kind');
  return { width, height, pixels: unfiltered(inflateSync(Buffer.concat(data)), width * BYTES, height) };
}

/** Without the filters of its lines (PNG, section 9). */
function unfiltered(raw, length, height) {
  const pixels = Buffer.alloc(length * height);
  for (let row = 0; row < height; row += 1) {
    const [from, to] = [row * (length + 1) + 1, row * length];
    const filter = raw[from - 1];
    for (let at = 0; at < length; at += 1) {
      const left = at >= BYTES ? pixels[to + at - BYTES] : 0;
      const up = row > 0 ? pixels[to + at - length] : 0;
      const corner = row > 0 && at >= BYTES ? pixels[to + at - length - BYTES] : 0;
      pixels[to + at] = raw[from + at] + [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
    }
  }
  return pixels;
}

function paeth(left, up, corner) {
  const [toLeft, toUp, toCorner] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

/** The most frequent colours that differ well from one another, and then the most frequent others. */
function frequent(pixels) {
  const counts = new Map();
  for (let at = 0; at < pixels.length / BYTES; at += 1) {
    const colour = colourAt(pixels, at);
    counts.set(colour, (counts.get(colour) ?? 0) + 1);
  }
  const sorted = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([colour]) => colour);
  const palette = [];
  for (const colour of sorted) {
    if (palette.length < COLOURS && palette.every((other) => distance(colour, other) > ALIKE)) palette.push(colour);
  }
  const others = sorted.filter((colour) => !palette.includes(colour));
  return [...palette, ...others].slice(0, COLOURS);
}

/** Of two colours, the square of it. */
function distance(a, b) {
  return [16, 8, 0].reduce((sum, shift) => sum + (((a >> shift) & 255) - ((b >> shift) & 255)) ** 2, 0);
}

function finder(palette) {
  const known = new Map(palette.map((colour, index) => [colour, index]));
  return (colour) => {
    if (!known.has(colour)) {
      const distances = palette.map((other) => distance(colour, other));
      known.set(colour, distances.indexOf(Math.min(...distances)));
    }
    return known.get(colour);
  };
}

function chunk(kind, body) {
  const content = Buffer.concat([Buffer.from(kind, 'latin1'), body]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(body.length);
  sum.writeUInt32BE(checksum(content));
  return Buffer.concat([length, content, sum]);
}

/** CRC-32. */
function checksum(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  }
  return (sum ^ 0xffffffff) >>> 0;
}
