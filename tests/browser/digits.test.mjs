// Numbers as they were sent: the page's own reading of JSON, against JavaScript's.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ExactNumber, parse, print } from '../../src/dashboard/exact_json.js';

test('digits that a double cannot hold, or would spell otherwise, stay', () => {
  for (const text of ['9007199254740993', '18446744073709551615', '1.0', '1e400', '-0', '0.10', '1E5', '-123456789012345678901234567890']) {
    const value = parse(text);
    assert.ok(value instanceof ExactNumber, text);
    assert.equal(String(value), text);
    assert.equal(print([value, { a: value }]), `[${text},{"a":${text}}]`);
  }
  for (const text of ['0', '-1', '12.5', '9007199254740991']) assert.equal(parse(text), Number(text));
});

test('whatever else stands in it is as JavaScript reads it', () => {
  const pieces = ['"', '\\', '\ue000', '\\ue000', '\\uE000', 'ue000', '1.0', ' ', 'é', '\u2028', '__proto__', '\ud83d\ude00', '\n', '0'];
  let state = 1;
  const random = (bound) => (state = (state * 48271) % 2147483647) % bound;
  const string = () => Array.from({ length: random(6) }, () => pieces[random(pieces.length)]).join('');
  // With escapes that a writer need not use.
  const spell = (text) => JSON.stringify(text).replaceAll('\ue000', () => ['\ue000', '\\ue000', '\\uE000'][random(3)]);
  const value = (depth) => {
    const kind = random(depth > 3 ? 3 : 5);
    if (kind === 0) return spell(string());
    if (kind === 1) return ['1.0', '7', 'true', 'null', '-0.50', '12345678901234567890'][random(6)];
    if (kind === 2) return spell(`${random(1000)}`);
    const items = Array.from({ length: random(4) }, () => value(depth + 1));
    if (kind === 3) return `[${items.join(' ,')}]`;
    return `{${items.map((item, index) => `${spell(string() + index)}: ${item}`).join(',\n')}}`;
  };
  for (let round = 0; round < 20_000; round += 1) {
    const text = value(0);
    assert.deepEqual(JSON.parse(print(parse(text))), JSON.parse(text), text);
    assert.deepEqual(JSON.parse(print(parse(text), 2)), JSON.parse(text), text);
  }
});

test('a value of megabytes is read like any other', () => {
  const long = `\\"${'x'.repeat(4 << 20)}\ue000`;
  assert.equal(parse(`{"a":1.0,"b":${JSON.stringify(long)}}`).b, long);
});
