// Who is asking. Without tokens in the hub's settings nobody needs this; with them, a person signs in with theirs, which is kept for
// this tab only, and goes in a header. An EventSource sends no headers: it gets a ticket, good for a minute.

const KEY = 'telemetry-hub-token';
const TICKETS = { traces: 'tracing-token', metrics: 'metrics-token' };

class Credentials extends EventTarget {
  get isSignedIn() {
    return sessionStorage.getItem(KEY) !== null;
  }

  signIn(token) {
    sessionStorage.setItem(KEY, token.trim());
    this.dispatchEvent(new Event('change'));
  }

  signOut() {
    sessionStorage.removeItem(KEY);
    this.dispatchEvent(new Event('change'));
  }

  /** Asks the hub for something. An answer of 401 asks the person for a token. */
  async fetch(path, options = {}) {
    const headers = new Headers(options.headers);
    const token = sessionStorage.getItem(KEY);
    if (token !== null) headers.set('authorization', `Bearer ${token}`);
    const answer = await fetch(hubUrl(path), { cache: 'no-store', ...options, headers });
    if (answer.status === 401) this.dispatchEvent(new CustomEvent('needed', { detail: (await problem(answer.clone())).detail }));
    return answer;
  }

  /** A ticket for the stream of a signal; null without a token, with which no ticket is to be had. */
  async ticket(signal, options) {
    if (!this.isSignedIn) return null;
    // Without a session, which would stay in the browser when the person has signed out.
    const answer = await this.fetch(`api/telemetry/live/${TICKETS[signal]}?session=none`, options);
    if (!answer.ok) throw new Refusal(await problem(answer));
    return (await answer.json()).data;
  }
}

/** The hub's answer to what it does not grant. */
export class Refusal extends Error {
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/** What an answer says went wrong (RFC 9457), whether it is the hub that says so, and how long it wants to be left alone. */
export async function problem(answer) {
  const { status, statusText, headers } = answer;
  const said = {
    status,
    isOfHub: headers.get('content-type') === 'application/problem+json',
    retryAfter: (Number(headers.get('retry-after')) || 0) * 1000,
  };
  const plain = { title: statusText, detail: `the answer was ${status} ${statusText}`.trim(), ...said };
  if (!said.isOfHub) return plain;
  try {
    return { ...plain, ...(await answer.json()), ...said };
  } catch {
    return plain;
  }
}

/** A path of the hub's, wherever a host has mounted it. */
export function hubUrl(path) {
  const url = new URL(path, document.baseURI);
  // A browser asks for nothing by an address that holds a password, and nobody should copy one.
  return Object.assign(url, { username: '', password: '' });
}

export const credentials = new Credentials();
