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
    if (answer.status === 401) this.dispatchEvent(new Event('needed'));
    return answer;
  }

  /** A ticket for the stream of a signal; null without a token, with which no ticket is to be had. */
  async ticket(signal) {
    if (!this.isSignedIn) return null;
    const answer = await this.fetch(`api/telemetry/live/${TICKETS[signal]}`);
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

/** What an answer says went wrong (RFC 9457). */
export async function problem(answer) {
  const fallback = { status: answer.status, title: answer.statusText, detail: `the hub answered ${answer.status}` };
  try {
    return { ...fallback, ...(await answer.json()) };
  } catch {
    return fallback;
  }
}

/** A path of the hub's, wherever a host has mounted it. */
export function hubUrl(path) {
  return new URL(path, document.baseURI);
}

export const credentials = new Credentials();
