// Reads the hub's streams as a program does, to have what the page shows compared with it.

/** The events of an answer, as text to the letter, up to the end of its replay. */
export async function replayed(answer) {
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  const found = [];
  for await (const { event, data } of frames(answer.body)) {
    if (event === 'trace') found.push(...objects(data));
    if (event === 'caught-up') break;
  }
  return found;
}

/** The frames of an answer, as they come. Leaving the loop ends the stream. */
export async function* frames(body) {
  let rest = '';
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    const whole = (rest + piece).split('\n\n');
    rest = whole.pop();
    for (const text of whole) yield fields(text);
  }
}

function fields(text) {
  const lines = text.split('\n').map((line) => /^(\w+): (.*)$/s.exec(line)).filter(Boolean);
  return Object.fromEntries(lines.map(([, name, value]) => [name, value]));
}

/** The objects in a JSON array, each as it is spelt: JSON.parse would change their numbers. */
export function objects(array) {
  const found = [];
  let [depth, start, isText] = [0, 0, false];
  for (let at = 0; at < array.length; at += 1) {
    const character = array[at];
    if (isText) {
      if (character === '\\') at += 1;
      else if (character === '"') isText = false;
    } else if (character === '"') {
      isText = true;
    } else if (character === '{') {
      if (depth === 0) start = at;
      depth += 1;
    } else if (character === '}') {
      depth -= 1;
      if (depth === 0) found.push(array.slice(start, at + 1));
    }
  }
  return found;
}

/** The id of an event's text. */
export const idOf = (text) => JSON.parse(text).id;
