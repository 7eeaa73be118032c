// Sends with the OpenTelemetry SDK for JavaScript, and prints what it sent as one JSON document: the truth to compare with.
//
//     node send.mjs everything      logs, spans and metrics of every shape, then the truth (its form: truth.rs)
//     node send.mjs steadily        small exports until stdin closes, then what became of each (retry.rs)
//
// Where to and how is told by the variables that every SDK knows, as for send.py. The truth is read from the SDK's own
// objects, never from what is on the wire.

import { createRequire } from 'node:module';
import {
  createTraceState,
  diag,
  DiagLogLevel,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  ValueType,
} from '@opentelemetry/api';
import { SeverityNumber } from '@opentelemetry/api-logs';
import { resourceFromAttributes } from '@opentelemetry/resources';
import * as logs from '@opentelemetry/sdk-logs';
import * as metrics from '@opentelemetry/sdk-metrics';
import * as traces from '@opentelemetry/sdk-trace-base';

const require = createRequire(import.meta.url);
const SDK = `JavaScript ${require('@opentelemetry/sdk-trace-base/package.json').version}`;

const PROTOCOL = process.env.OTEL_EXPORTER_OTLP_PROTOCOL;
const PACKAGES = { grpc: 'grpc', 'http/protobuf': 'proto', 'http/json': 'http' };
const { OTLPLogExporter } = require(`@opentelemetry/exporter-logs-otlp-${PACKAGES[PROTOCOL]}`);
const { OTLPMetricExporter } = require(`@opentelemetry/exporter-metrics-otlp-${PACKAGES[PROTOCOL]}`);
const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${PACKAGES[PROTOCOL]}`);

const RESOURCE = resourceFromAttributes({
  'service.name': 'interop-javascript',
  'service.namespace': 'interop',
  'service.instance.id': 'javascript-1',
  'host.name': 'host.example',
  'deployment.replicas': 3,
  'deployment.zones': ['a', 'b'],
  shadowed: 'by the resource',
});

const EVERY_TYPE = {
  string: 'text',
  'string.empty': '',
  'string.unicode': 'Grüße, 世界 🦀 \u202eright to left\u202c',
  'string.control': 'a\r\nevent: trace\ndata: "forged"\\ \u0000\u007f\u2028',
  'string.long': 'x'.repeat(8192),
  bool: true,
  int: 42,
  'int.negative': -1,
  'int.greatest.safe': Number.MAX_SAFE_INTEGER,
  'int.least.safe': Number.MIN_SAFE_INTEGER,
  // Beyond those, JavaScript writes other digits than it means; not so for these.
  'int.large': 1e18,
  'int.large.negative': -1e18,
  double: 0.1,
  'double.tiny': 5e-324,
  'double.negative': -2.5,
  'array.string': ['a', 'b', ''],
  'array.int': [1, 1e18, -1],
  'array.double': [0.5, 1.5],
  'array.bool': [true, false],
  'array.empty': [],
  'Mixed_Case-Name.dotted': 'names are left as they are',
  schlüssel: 'a name with an umlaut',
  shadowed: 'by the record',
};

const TIME = [1_795_342_367, 0];

function emitLogs(provider, tracer) {
  const logger = provider.getLogger('interop.javascript.logs', '1.2.3', {
    attributes: { 'scope.of': 'logs', shadowed: 'by the scope' },
  });
  for (let severity = 1; severity <= 24; severity++) {
    logger.emit({
      timestamp: [TIME[0], severity * 1_000_000],
      severityNumber: severity,
      severityText: SeverityNumber[severity],
      body: `severity ${severity}`,
      attributes: { number: severity },
    });
  }
  logger.emit({ severityNumber: SeverityNumber.INFO, body: 'every type', attributes: EVERY_TYPE });
  const bodies = ['', 'one\ntwo', 42, 1e18, 0.25, true, undefined, Uint8Array.of(0, 255), ['a', 1, { deep: [null, 2.5] }]];
  bodies.push({ 'in.body': 'joins data', number: 7, nested: { map: { deep: 1 } }, list: [1, 'two'] });
  for (const body of bodies) {
    logger.emit({ timestamp: TIME, body, attributes: { 'kind.of.body': typeof body } });
  }
  logger.emit({ timestamp: TIME, body: { taken: 'by the body' }, attributes: { taken: 'by the attribute' } });
  logger.emit({ eventName: 'interop.named', body: 'an event with a name', attributes: { 'event.name': 'not.this' } });
  logger.emit({ body: 'named by an attribute', attributes: { 'event.name': 'interop.named.by.attribute' } });
  const nested = { bytes: Uint8Array.of(1, 2), map: { inner: { n: 1 }, list: [1, 'x', null] }, null: null };
  logger.emit({ body: 'nested attributes', attributes: nested });
  const numbers = { 'not.a.number': NaN, infinite: -Infinity };
  logger.emit({ body: 'numbers that JSON lacks', attributes: numbers });
  logger.emit({ body: 'a span as an attribute', attributes: { spanId: '341966511470027318', accountName: 'alice' } });
  provider.getLogger('bare').emit({ timestamp: [TIME[0], 999_999_999], body: 'no severity' });
  const outer = tracer.startSpan('around logs', {}, ROOT_CONTEXT);
  const around = trace.setSpan(ROOT_CONTEXT, outer);
  logger.emit({ severityNumber: SeverityNumber.WARN, body: 'in a span', context: around });
  const inner = tracer.startSpan('inner', {}, around);
  const within = trace.setSpan(around, inner);
  logger.emit({ severityNumber: SeverityNumber.ERROR, body: 'in the inner span', context: within });
  inner.end();
  const exception = new TypeError('missing ‘ключ’');
  logger.emit({ severityNumber: SeverityNumber.FATAL, body: 'with an exception', exception, context: around });
  outer.end();
}

function emitSpans(provider) {
  const tracer = provider.getTracer('interop.javascript.spans', '4.5.6');
  const remote = {
    traceId: '0af7651916cd43dd8448eb211c80319c',
    spanId: '00f067aa0ba902b7',
    isRemote: true,
    traceFlags: TraceFlags.SAMPLED,
    traceState: createTraceState('vendor=value'),
  };
  for (const kind of [SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER]) {
    const parent = tracer.startSpan(`kind ${SpanKind[kind]}`, { kind }, ROOT_CONTEXT);
    const attributes = { of: SpanKind[kind] };
    tracer.startSpan('child', { attributes }, trace.setSpan(ROOT_CONTEXT, parent)).end();
    parent.end();
  }
  const every = tracer.startSpan('every type', { attributes: EVERY_TYPE }, ROOT_CONTEXT);
  every.setStatus({ code: SpanStatusCode.OK });
  every.addEvent('bare');
  every.addEvent('with attributes', { n: 1e18, list: ['a', 'b'] }, [TIME[0], 123_456_789]);
  every.recordException(new RangeError('an exception with “quotes”\nand two lines'));
  every.end();
  const failed = tracer.startSpan('failed', {}, ROOT_CONTEXT);
  failed.setStatus({ code: SpanStatusCode.ERROR, message: 'what went wrong' });
  failed.end();
  const links = [{ context: remote }, { context: failed.spanContext(), attributes: { why: 'retry', n: 1 } }];
  const far = trace.setSpanContext(ROOT_CONTEXT, remote);
  tracer.startSpan('linked, with a remote parent', { links }, far).end();
  tracer.startSpan('given times', { startTime: TIME }, ROOT_CONTEXT).end([TIME[0] + 1, 500_000_000]);
  tracer.startSpan('no time at all', { startTime: [TIME[0], 1] }, ROOT_CONTEXT).end([TIME[0], 1]);
  const names = ['startTime', 'duration', 'kind', 'status'];
  const attributes = Object.fromEntries(names.map(name => [name, 'an attribute']));
  tracer.startSpan('names of its own', { attributes }, ROOT_CONTEXT).end();
}

async function recordMetrics(provider) {
  const meter = provider.getMeter('interop.javascript.metrics', '7.8.9');
  const int = { valueType: ValueType.INT };
  const counter = meter.createCounter('interop.counter', { unit: '{request}', ...int });
  const floats = meter.createCounter('interop.counter.float', { unit: 's' });
  const upDown = meter.createUpDownCounter('interop.up.down', { unit: '{item}', ...int });
  const gauge = meter.createGauge('interop.gauge', { unit: 'Cel' });
  const histogram = meter.createHistogram('interop.histogram', { unit: 'ms' });
  const exponential = meter.createHistogram('interop.exponential', { unit: 'By' });
  const observe = (instrument, value, attributes) => instrument.addCallback(result => result.observe(value, attributes));
  observe(meter.createObservableCounter('interop.observable.counter', { unit: '1', ...int }), 77, { cpu: 0 });
  observe(meter.createObservableUpDownCounter('interop.observable.up.down', int), -7);
  observe(meter.createObservableGauge('interop.observable.gauge', { unit: 'By' }), 2.5, { core: 'a' });
  for (const part of [1, 2]) {
    counter.add(3 * part, { method: 'GET', status: 200 });
    counter.add(2 ** 40 * part, { method: 'PUT', ok: true, ratio: 0.5, list: ['x', 'y'] });
    counter.add(part);
    floats.add(0.25 * part, { größe: 'klein' });
    upDown.add(part === 1 ? 10 : -25);
    gauge.record(-3.75 * part, { room: 'attic' });
    for (const value of [0.5, 7, 12, 480, 20_000]) {
      histogram.record(value * part, { route: '/a' });
    }
    histogram.record(part);
    for (const value of [1, 3, 9, 27, 81, 1e9]) {
      exponential.record(value * part);
    }
    // Exports what there is so far, so that deltas come in two parts.
    await provider.forceFlush();
  }
}

// A number that JSON lacks is a text; the SDK itself puts null in its place, where it sends JSON.
function plainNumber(number) {
  if (Number.isFinite(number)) return number;
  return PROTOCOL === 'http/json' ? null : String(number);
}

function plain(value) {
  if (value === undefined || value === null) return null;
  if (typeof value === 'number') return plainNumber(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, plain(item)]));
}

const nanoseconds = ([seconds, rest]) => (BigInt(seconds) * 1_000_000_000n + BigInt(rest)).toString();
const scopeOf = scope => ({ name: scope.name, attributes: plain(scope.attributes ?? {}) });

const logTruth = record => ({
  time: nanoseconds(record.hrTime),
  severity: record.severityNumber,
  eventName: record.eventName,
  text: typeof record.body === 'string' ? record.body : null,
  body: typeof record.body === 'string' ? null : plain(record.body),
  attributes: plain(record.attributes),
  scope: scopeOf(record.instrumentationScope),
  traceId: record.spanContext?.traceId,
  spanId: record.spanContext?.spanId,
});

const spanTruth = span => ({
  name: span.name,
  traceId: span.spanContext().traceId,
  spanId: span.spanContext().spanId,
  parentSpanId: span.parentSpanContext?.spanId,
  traceState: span.spanContext().traceState?.serialize(),
  kind: SpanKind[span.kind].toLowerCase(),
  start: nanoseconds(span.startTime),
  end: nanoseconds(span.endTime),
  status: { code: SpanStatusCode[span.status.code].toLowerCase(), message: span.status.message },
  attributes: plain(span.attributes),
  events: span.events.map(({ time, name, attributes }) => ({
    time: nanoseconds(time),
    name,
    attributes: plain(attributes ?? {}),
  })),
  links: span.links.map(({ context, attributes }) => ({
    traceId: context.traceId,
    spanId: context.spanId,
    traceState: context.traceState?.serialize(),
    attributes: plain(attributes ?? {}),
  })),
  scope: scopeOf(span.instrumentationScope),
});

function seriesTruth({ descriptor, dataPointType, isMonotonic }, { attributes, value }) {
  const series = { name: descriptor.name, unit: descriptor.unit, attributes: plain(attributes) };
  switch (dataPointType) {
    case metrics.DataPointType.SUM:
      return { ...series, kind: isMonotonic ? 'counter' : 'gauge', value };
    case metrics.DataPointType.GAUGE:
      return { ...series, kind: 'gauge', value };
    default:
      return { ...series, kind: 'histogram', count: value.count, sum: value.sum, min: value.min, max: value.max };
  }
}

// Reads totals since the start, whatever the temporality on the wire.
class TruthReader extends metrics.MetricReader {
  async onForceFlush() {}
  async onShutdown() {}

  async truth() {
    const { resourceMetrics } = await this.collect();
    const all = resourceMetrics.scopeMetrics.flatMap(scope => scope.metrics);
    return all.flatMap(metric => metric.dataPoints.map(point => seriesTruth(metric, point)));
  }
}

async function everything() {
  diag.setLogger({ ...console, warn: console.error, verbose: console.error }, DiagLogLevel.WARN);
  const [keptLogs, keptSpans, reader] = [new logs.InMemoryLogRecordExporter(), new traces.InMemorySpanExporter(), new TruthReader()];
  const loggers = new logs.LoggerProvider({
    resource: RESOURCE,
    processors: [
      new logs.SimpleLogRecordProcessor({ exporter: keptLogs }),
      new logs.BatchLogRecordProcessor({ exporter: new OTLPLogExporter() }),
    ],
  });
  const tracers = new traces.BasicTracerProvider({
    resource: RESOURCE,
    spanProcessors: [new traces.SimpleSpanProcessor(keptSpans), new traces.BatchSpanProcessor(new OTLPTraceExporter())],
  });
  const exporter = new OTLPMetricExporter();
  const meters = new metrics.MeterProvider({
    resource: RESOURCE,
    readers: [reader, new metrics.PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })],
    views: [{ instrumentName: 'interop.exponential', aggregation: { type: metrics.AggregationType.EXPONENTIAL_HISTOGRAM } }],
  });
  emitLogs(loggers, tracers.getTracer('interop.javascript.around'));
  emitSpans(tracers);
  await recordMetrics(meters);
  await Promise.all([loggers.forceFlush(), tracers.forceFlush()]);
  const truth = {
    sdk: SDK,
    resource: plain(RESOURCE.attributes),
    logs: keptLogs.getFinishedLogRecords().map(logTruth),
    spans: keptSpans.getFinishedSpans().map(spanTruth),
    metrics: await reader.truth(),
  };
  await Promise.all([loggers.shutdown(), tracers.shutdown(), meters.shutdown()]);
  return truth;
}

const pause = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));
const tellRetry = () => console.error('retrying');

// Notes what the SDK's exporter said of each record, retries and all.
class Noting {
  constructor(inner, notes) {
    Object.assign(this, { inner, notes });
  }

  export(items, done) {
    this.inner.export(items, async result => {
      const { name } = items[0].attributes;
      const { outcomes, resent, next } = this.notes;
      outcomes[name] = result.code === 0;
      if (result.code !== 0 && PROTOCOL === 'grpc') {
        // This SDK gives up on a gRPC error at once, whatever it is: so we try again ourselves.
        tellRetry();
        resent.push(name);
        await pause(50);
        return this.export(items, done);
      }
      done(result);
      next.get(name)();
    });
  }

  forceFlush() {
    return this.inner.forceFlush?.();
  }

  shutdown() {
    return this.inner.shutdown();
  }
}

async function steadily() {
  const watch = message => message.includes('Scheduling export retry') && tellRetry();
  const ignore = () => {};
  diag.setLogger({ error: console.error, warn: console.error, info: ignore, debug: ignore, verbose: watch }, DiagLogLevel.VERBOSE);
  const notes = { outcomes: {}, resent: [], next: new Map() };
  const loggers = new logs.LoggerProvider({
    resource: RESOURCE,
    processors: [new logs.SimpleLogRecordProcessor({ exporter: new Noting(new OTLPLogExporter(), notes) })],
  });
  const tracers = new traces.BasicTracerProvider({
    resource: RESOURCE,
    spanProcessors: [new traces.SimpleSpanProcessor(new Noting(new OTLPTraceExporter(), notes))],
  });
  const [logger, tracer] = [loggers.getLogger('interop'), tracers.getTracer('interop')];
  const emit = {
    log: name => logger.emit({ body: 'steadily', attributes: { name } }),
    span: name => tracer.startSpan('steadily', { attributes: { name } }, ROOT_CONTEXT).end(),
  };
  let open = true;
  process.stdin.resume().on('end', () => (open = false));
  const keepSending = async kind => {
    for (let number = 0; open; number++) {
      const name = `${kind} ${number}`;
      await new Promise(resolve => {
        notes.next.set(name, resolve);
        emit[kind](name);
      });
    }
  };
  await Promise.all([keepSending('log'), keepSending('span')]);
  await Promise.all([loggers.shutdown(), tracers.shutdown()]);
  return { sdk: SDK, outcomes: notes.outcomes, resent: notes.resent };
}

const mode = { everything, steadily }[process.argv[2]];
process.stdout.write(JSON.stringify(await mode()));
