// What the hub's counters of refusals mean, in words for those who have to do something about it.

const STATUSES = {
  400: ['Bad requests', 'A parameter, or a body, that cannot be read. The answer names what is wrong.'],
  401: ['Not signed in', 'A token or a signature was missing, unknown or expired.'],
  403: ['Not allowed', 'The token lacks the scope, or a page of another site asked.'],
  404: ['No such path', 'Somebody asks for what is not there.'],
  405: ['Wrong method', 'The path is there, and takes other methods.'],
  408: ['Body too slow', 'A body did not arrive within body_timeout.'],
  413: ['Body too large', 'Over max_body_bytes, too many items, or compressed beyond max_decompression_ratio. Send smaller batches.'],
  415: ['Wrong media type', 'A Content-Type or Content-Encoding that the path does not take.'],
  429: ['Too much from one', 'A token or an address brings more, or has more streams, than it may. It was told when to come back.'],
  431: ['Head too large', 'Headers over max_head_bytes.'],
  500: ['Fault of the hub', 'Something went wrong inside. The hub’s log says what.'],
  503: ['Not now', 'No room, not joined to the other hubs, or shutting down. Clients were told when to come back. Checks of readiness count as well.'],
};

const REASONS = {
  'hub.events.refused': [
    'Events refused',
    'The ingest queue was full for longer than ingest_patience, the other hubs were away for longer than nats_patience, or the hub was going down. Senders got 503 and should send again.',
  ],
  'hub.events.dropped': [
    'Own events lost',
    'Log events of the program that embeds the hub, for which there was no room, here or in a message to the other hubs. Nobody sends them again.',
  ],
  'hub.subscribers.refused': ['Streams refused', 'No place for another subscriber, in all (max_subscribers) or for one client.'],
  'hub.subscribers.over_limit': ['Too many streams of one', 'A token or an address had as many streams as one may have.'],
  'hub.subscribers.stalled': ['Streams cut', 'Their clients did not read for longer than write_timeout or stall_timeout.'],
  'hub.subscribers.failed': ['Streams failed', 'A subscriber inside the hub failed. The hub’s log says why.'],
  'hub.replays.expired': ['Replays cut short', 'Older events were asked for than replay_bytes has room for. Clients were told by gap.'],
  'hub.metrics.folded': ['Series folded', 'More series than max_series: what came beyond is counted in “other”.'],
  'hub.metrics.late': ['Points too late', 'Data points older than what was known already, left out.'],
  'hub.metrics.refused': [
    'Measurements refused',
    'The stream of the hubs had not acknowledged them in time, or there was no room for them. Senders got 503 and should send again.',
  ],
  'hub.metrics.frames_replaced': ['Metrics frames skipped', 'Their clients read too slowly, and got the next frame instead.'],
  'hub.collector.restarts': ['Collector restarted', 'A fault inside the hub. Its log says what.'],
  'hub.sampler.restarts': ['Sampler restarted', 'A fault inside the hub. Its log says what.'],
  'hub.sweeper.restarts': ['Sweeper restarted', 'A fault inside the hub. Its log says what.'],
  'hub.transport.disconnects': ['Cut off', 'The connection to the other hubs was lost. What came meanwhile was shown later.'],
  'hub.transport.failed': ['Publishing given up', 'The other hubs’ stream did not acknowledge within nats_patience. Senders got 503 and should send again.'],
  'hub.transport.holes': ['Messages gone', 'The stream had let go of messages that a hub had not read. Clients were told by gap. Is nats_max_bytes too small?'],
  'hub.transport.unreadable': ['Messages unreadable', 'Somebody else publishes under nats_prefix, or a newer hub does.'],
  'hub.transport.restarts': ['Joining restarted', 'A fault inside the hub. Its log says what.'],
  'server.bodies.refused': ['Bodies refused', 'Too many bodies were being read at once. Senders got 503 and should send again.'],
  'server.bodies.limited': ['Bodies over the rate', 'A token brought more than it may a second. Senders got 429, or 413 if it never fits.'],
  'server.signatures.refused': [
    'Bad signatures',
    'X-Signature was missing, or by no key known here. Do both sides have the same webhook key?',
  ],
  'server.otlp.rejected': ['OTLP records rejected', 'Records that could not be taken. The answer’s partialSuccess says why.'],
  'server.connections.refused': ['Connections refused', 'More than max_connections, or than one address may have.'],
  'server.connections.failed': ['Connections failed', 'Ended by what their clients did: no TLS handshake, a broken head, or too slow.'],
  'server.access.unauthorized': ['Unknown credentials', 'Nobody is known by the token that was shown, or none was shown.'],
  'server.access.forbidden': ['Wrong scope', 'The token is known, and not good for what was asked.'],
  'server.access.foreign': ['Other sites', 'A browser asked on behalf of another site. Without tokens, only pages of the hub itself may.'],
  'server.files.failed': ['Bad files', 'A key or certificate was replaced by one that cannot be used. What was there before stays good.'],
};

const RESPONSE = /^server\.responses\.(\d{3})$/;

/** `[title, explanation]` for the name of a counter of refusals; null for every other. */
export function reasonOf(id) {
  if (Object.hasOwn(REASONS, id)) return REASONS[id];
  const status = RESPONSE.exec(id)?.[1];
  if (status === undefined) return null;
  const [title, explanation] = STATUSES[status] ?? ['Failures', 'Requests that ended so.'];
  return [`${status} ${title}`, explanation];
}
