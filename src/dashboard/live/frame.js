// Takes a frame of events apart without parsing it: after a pause a hundred thousand events may come at once, of which the page shows
// forty. What is kept of each is its text as it was sent.

const [QUOTE, BACKSLASH, OPEN, CLOSE] = ['"', '\\', '{', '}'].map((character) => character.charCodeAt(0));

/** The texts of the objects in a JSON array. */
export function events(frame) {
  const found = [];
  let [depth, start] = [0, 0];
  for (let at = 0; at < frame.length; at += 1) {
    const code = frame.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(frame, at);
    } else if (code === OPEN) {
      if (depth === 0) start = at;
      depth += 1;
    } else if (code === CLOSE) {
      depth -= 1;
      if (depth === 0) found.push(frame.slice(start, at + 1));
    }
  }
  return found;
}

function endOfString(frame, start) {
  let end = frame.indexOf('"', start + 1);
  while (end > 0 && isEscaped(frame, end)) end = frame.indexOf('"', end + 1);
  return end < 0 ? frame.length : end;
}

function isEscaped(frame, quote) {
  let backslashes = 0;
  while (frame.charCodeAt(quote - 1 - backslashes) === BACKSLASH) backslashes += 1;
  return backslashes % 2 === 1;
}

/** The id of an event, which the hub writes first. */
export function idOf(event) {
  return /^\{"id":"([^"]+)"/.exec(event)?.[1] ?? null;
}
