// What is asked for: the language of the live stream's query, as a list of parameters, of which each is a chip. Its rules are the hub's;
// nothing is refused here, as the hub says better what is wrong.

/** How many a person can read in a second, and then some. */
const MAX_RATE = 50;
/** What a newcomer finds here, of what was before. */
const REPLAY = 200;
/** More events than a hub has. */
const ALL = 1_000_000_000;

/** These can be given once: a new one takes the old one's place. */
const SINGLE = new Set(['level', 'follow', 'since', 'replay', 'max-rate']);
/** These say how much of what matches, not what matches. */
const EXTENT = new Set(['since', 'replay', 'max-rate']);
/** These are no business of a page's address. */
const FOREIGN = new Set(['token', 'last-event-id']);
/** A key of an event's data that has one of these names is reached by `data.KEY`. */
const RESERVED = new Set([...SINGLE, ...FOREIGN, 'filter', 'where', 'type', 'text', 'trace-id', 'span-id']);

export const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];

/** The form in which two spellings of a key are one: `remoteIp` and `remote_ip` are `remote-ip`. */
export function canonical(key) {
  return key
    .replace(/([a-z0-9])([A-Z])/g, '$1-$2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1-$2')
    .split(/[-_./ ]+/)
    .filter(Boolean)
    .join('-')
    .toLowerCase();
}

/** The name of the parameter that filters by a member of an event's data; null if no parameter can name it. */
export function parameterOf(path) {
  const name = canonical(path.join('.'));
  if (!name || /[\u0000-\u001f\u007f-\u009f]/.test(name)) return null;
  return RESERVED.has(name) || name.startsWith('data-') ? `data.${path.join('.')}` : name;
}

/** From the page's address. */
export function read(parameters) {
  return [...parameters].map(([name, value]) => ({ name: known(name), value })).filter(({ name }) => !FOREIGN.has(name));
}

/** Into the page's address. */
export function written(query) {
  return new URLSearchParams(query.map(({ name, value }) => [name, value]));
}

function known(name) {
  const plain = canonical(name);
  return SINGLE.has(plain) || FOREIGN.has(plain) || plain === 'filter' || plain === 'where' ? plain : name;
}

/** What somebody typed: `key=value`, or a text to look for. Keys with odd characters are taken for such if they are among `names`. */
export function typed(text, names = []) {
  const name = names.find((odd) => text.startsWith(`${odd}=`));
  if (name !== undefined) return { name: known(name), value: text.slice(name.length + 1).trim() };
  const pair = /^([^\s=!<>&|"'()]+)=(.*)$/s.exec(text.trim());
  return pair ? { name: known(pair[1]), value: pair[2].trim() } : { name: 'filter', value: text.trim() };
}

/** How a parameter is written, and can be typed. */
export const spelt = ({ name, value }) => `${name}=${value}`;

/** The query with one parameter more, or with it at the place of another. */
export function withParameter(query, parameter, index = query.length) {
  const others = query.filter((other, at) => at !== index && !(SINGLE.has(parameter.name) && other.name === parameter.name));
  const isThere = others.some(({ name, value }) => name === parameter.name && value === parameter.value);
  if (isThere) return others;
  const before = query.slice(0, index).filter((other) => others.includes(other)).length;
  return others.toSpliced(before, 0, parameter);
}

/**
 * The query that hides what an expression excludes. Without `follow=none` the span of any other event that matched would bring back
 * what is hidden.
 */
export function withExclusion(query, expression) {
  const following = query.some(({ name }) => name === 'follow') ? query : withParameter(query, { name: 'follow', value: 'none' });
  return withParameter(following, { name: 'where', value: expression });
}

/** Whether it says which events, and not only how many. */
export const saysWhich = (query) => query.some(({ name }) => !EXTENT.has(name) && name !== 'follow');

/** The parameters as the hub takes them: it takes one expression, so that several are joined. */
export function joined(query) {
  const expressions = query.filter(({ name }) => name === 'where').map(({ value }) => value);
  const others = query.filter(({ name }) => name !== 'where');
  if (expressions.length === 0) return others;
  const value = expressions.length === 1 ? expressions[0] : expressions.map((expression) => `(${expression})`).join(' && ');
  return [...others, { name: 'where', value }];
}

/** What this page asks the hub for; with `all`, for all that was before. */
export function asked(query, { all = false } = {}) {
  const parameters = written(joined(query));
  if (!parameters.has('max-rate')) parameters.set('max-rate', MAX_RATE);
  if (!parameters.has('since') && !parameters.has('replay')) parameters.set('replay', all ? ALL : REPLAY);
  return parameters.toString();
}

/** How many events a second are shown at most. */
export function rateOf(query) {
  return query.find(({ name }) => name === 'max-rate')?.value ?? String(MAX_RATE);
}

/** What comes along with the events that match: without a word, the hub lets later events of their spans pass. */
export function whatFollows(query) {
  if (!saysWhich(query)) return '';
  const follow = query.find(({ name }) => name === 'follow')?.value ?? 'span';
  return { span: 'Matches, and later events of their spans (follow=none: matches alone)', trace: 'Matches, and later events of their traces' }[follow] ?? 'Matches alone';
}
