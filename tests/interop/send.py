"""Sends with the OpenTelemetry SDK for Python, and prints what it sent as one JSON document: the truth to compare with.

    send.py everything      logs, spans and metrics of every shape, then the truth (its form is described in truth.rs)
    send.py steadily        small exports until stdin closes, then what became of each (described in retry.rs)

Where to and how is told by the variables that every SDK knows: OTEL_EXPORTER_OTLP_ENDPOINT, _PROTOCOL, _COMPRESSION,
_METRICS_TEMPORALITY_PREFERENCE. The truth is read from the SDK's own objects, never from what is on the wire.
"""

import base64
import json
import logging
import math
import os
import sys
import threading

from opentelemetry import context, trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.metrics import Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    InMemoryLogRecordExporter,
    LogRecordExporter,
    LogRecordExportResult,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    Gauge,
    InMemoryMetricReader,
    PeriodicExportingMetricReader,
    Sum,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.version import __version__

PROTOCOL = os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"]
if PROTOCOL == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
elif PROTOCOL == "http/protobuf":
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
elif PROTOCOL == "http/json":
    from opentelemetry.exporter.otlp.json.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.json.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter
else:
    sys.exit(f"no such protocol: {PROTOCOL}")

RESOURCE = Resource.create(
    {
        "service.name": "interop-python",
        "service.namespace": "interop",
        "service.instance.id": "python-1",
        "host.name": "host.example",
        "deployment.replicas": 3,
        "deployment.zones": ["a", "b"],
        "shadowed": "by the resource",
    }
)

EVERY_TYPE = {
    "string": "text",
    "string.empty": "",
    "string.unicode": "Grüße, 世界 🦀 \u202eright to left\u202c",
    "string.control": 'a\r\nevent: trace\ndata: "forged"\\ \u0000\u007f\u2028',
    "string.long": "x" * 8192,
    "bool": True,
    "int": 42,
    "int.negative": -1,
    "int.greatest": 2**63 - 1,
    "int.least": -(2**63),
    "int.beyond.javascript": 2**53 + 1,
    "double": 0.1,
    "double.whole": 3.0,
    "double.tiny": 5e-324,
    "double.great": 1.7976931348623157e308,
    "double.negative.zero": -0.0,
    "double.not.a.number": math.nan,
    "double.infinite": -math.inf,
    "array.string": ["a", "b", ""],
    "array.int": [1, 2**63 - 1, -1],
    "array.double": [0.5, 1.0],
    "array.bool": [True, False],
    "array.empty": [],
    "Mixed_Case-Name.dotted": "names are left as they are",
    "schlüssel": "a name with an umlaut",
    "shadowed": "by the record",
}


def emit_logs(provider, tracer):
    """Logs of every severity and every kind of body, in and outside of spans."""
    logger = provider.get_logger("interop.python.logs", "1.2.3", attributes={"scope.of": "logs", "shadowed": "by the scope"})
    time = 1_795_342_367_000_000_000
    for severity in SeverityNumber:
        if severity is not SeverityNumber.UNSPECIFIED:
            logger.emit(
                timestamp=time + 1_000_000 * severity.value,
                severity_number=severity,
                severity_text=severity.name,
                body=f"severity {severity.value}",
                attributes={"number": severity.value},
            )
    logger.emit(severity_number=SeverityNumber.INFO, body="every type", attributes=EVERY_TYPE)
    bodies = ["", "one\ntwo", 42, 2**63 - 1, 0.25, True, None, b"\x00\xff", ["a", 1, {"deep": [None, 2.5]}]]
    bodies.append({"in.body": "joins data", "number": 7, "nested": {"map": {"deep": 1}}, "list": [1, "two"]})
    for body in bodies:
        logger.emit(timestamp=time, body=body, attributes={"kind.of.body": type(body).__name__})
    logger.emit(timestamp=time + 1, body={"taken": "by the body"}, attributes={"taken": "by the attribute"})
    logger.emit(event_name="interop.named", body="an event with a name", attributes={"event.name": "not.this"})
    logger.emit(body="named by an attribute", attributes={"event.name": "interop.named.by.attribute"})
    nested = {"bytes": b"\x01\x02", "map": {"inner": {"n": 1}, "list": [1, "x", None]}, "null": None}
    logger.emit(body="nested attributes", attributes=nested)
    logger.emit(body="a span as an attribute", attributes={"spanId": 341966511470027318, "accountName": "alice"})
    nameless = provider.get_logger("")
    nameless.emit(timestamp=time + 999_999_999, body="no scope, no name, no severity")
    with tracer.start_as_current_span("around logs"):
        logger.emit(severity_number=SeverityNumber.WARN, body="in a span")
        with tracer.start_as_current_span("inner"):
            logger.emit(severity_number=SeverityNumber.ERROR, body="in the inner span")
        try:
            raise KeyError("missing ‘ключ’")
        except KeyError as error:
            logger.emit(severity_number=SeverityNumber.FATAL, body="with an exception", exception=error)


def emit_spans(provider):
    """Spans of every kind and status, with attributes, events, links and parents."""
    tracer = provider.get_tracer("interop.python.spans", "4.5.6", attributes={"scope.of": "spans"})
    remote = SpanContext(
        trace_id=0x0AF7651916CD43DD8448EB211C80319C,
        span_id=0x00F067AA0BA902B7,
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState([("vendor", "value")]),
    )
    for kind in SpanKind:
        with tracer.start_as_current_span(f"kind {kind.name}", kind=kind):
            with tracer.start_as_current_span("child", attributes={"of": kind.name}):
                pass
    with tracer.start_as_current_span("every type", attributes=EVERY_TYPE) as span:
        span.set_status(StatusCode.OK)
        span.add_event("bare")
        span.add_event("with attributes", {"n": 2**53 + 1, "list": ["a", "b"]}, timestamp=1_795_342_367_123_456_789)
        try:
            raise ValueError("an exception with “quotes”\nand two lines")
        except ValueError as error:
            span.record_exception(error, {"extra": True})
    with tracer.start_as_current_span("failed", record_exception=False) as span:
        span.set_status(Status(StatusCode.ERROR, "what went wrong"))
    links = [Link(remote), Link(span.get_span_context(), {"why": "retry", "n": 1})]
    parent = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    with tracer.start_as_current_span("linked, with a remote parent", context=parent, links=links):
        pass
    root = tracer.start_span("given times", context=context.Context(), start_time=1_795_342_367_000_000_000)
    root.end(end_time=1_795_342_368_500_000_000)
    root = tracer.start_span("no time at all", context=context.Context(), start_time=1_795_342_367_000_000_001)
    root.end(end_time=1_795_342_367_000_000_001)
    names = ["startTime", "duration", "kind", "status"]
    with tracer.start_as_current_span("names of its own", attributes={name: "an attribute" for name in names}):
        pass


def record_metrics(provider, between):
    """Every instrument; `between` exports what there is so far, so that deltas come in two parts."""
    meter = provider.get_meter("interop.python.metrics", "7.8.9")
    counter = meter.create_counter("interop.counter", unit="{request}", description="an integer counter")
    floats = meter.create_counter("interop.counter.float", unit="s")
    up_down = meter.create_up_down_counter("interop.up.down", unit="{item}")
    gauge = meter.create_gauge("interop.gauge", unit="Cel")
    histogram = meter.create_histogram("interop.histogram", unit="ms")
    exponential = meter.create_histogram("interop.exponential", unit="By")
    meter.create_observable_counter("interop.observable.counter", [lambda _: [Observation(77, {"cpu": 0})]], "1")
    meter.create_observable_up_down_counter("interop.observable.up.down", [lambda _: [Observation(-7)]])
    meter.create_observable_gauge("interop.observable.gauge", [lambda _: [Observation(2.5, {"core": "a"})]], "By")
    for part in (1, 2):
        counter.add(3 * part, {"method": "GET", "status": 200})
        counter.add(2**40 * part, {"method": "PUT", "ok": True, "ratio": 0.5, "list": ["x", "y"]})
        counter.add(part)
        floats.add(0.25 * part, {"größe": "klein"})
        up_down.add(10 if part == 1 else -25)
        gauge.set(-3.75 * part, {"room": "attic"})
        for value in (0.5, 7, 12, 480, 20_000):
            histogram.record(value * part, {"route": "/a"})
        histogram.record(part)
        for value in (1, 3, 9, 27, 81, 1e9):
            exponential.record(value * part)
        if part == 1:
            between()


def plain(value):
    """A value of the SDK as JSON has it: bytes in base64, and the numbers that JSON lacks as texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return value
    if hasattr(value, "items"):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value]


def hex_id(number, digits):
    return f"{number:0{digits}x}" if number else None


def scope_of(scope):
    return {"name": scope.name, "attributes": plain(scope.attributes or {})}


def log_truth(readable):
    record = readable.log_record
    return {
        "time": str(record.timestamp or record.observed_timestamp),
        "severity": record.severity_number.value if record.severity_number else None,
        "eventName": record.event_name,
        "text": record.body if isinstance(record.body, str) else None,
        "body": None if isinstance(record.body, str) else plain(record.body),
        "attributes": plain(record.attributes or {}),
        "scope": scope_of(readable.instrumentation_scope),
        "traceId": hex_id(record.trace_id, 32),
        "spanId": hex_id(record.span_id, 16),
    }


def link_truth(link):
    return {
        "traceId": hex_id(link.context.trace_id, 32),
        "spanId": hex_id(link.context.span_id, 16),
        # This SDK's encoder leaves out the trace state of a link.
        "attributes": plain(link.attributes or {}),
    }


def span_truth(span):
    return {
        "name": span.name,
        "traceId": hex_id(span.context.trace_id, 32),
        "spanId": hex_id(span.context.span_id, 16),
        "parentSpanId": hex_id(span.parent.span_id, 16) if span.parent else None,
        "traceState": span.context.trace_state.to_header(),
        "kind": span.kind.name.lower(),
        "start": str(span.start_time),
        "end": str(span.end_time),
        "status": {"code": span.status.status_code.name.lower(), "message": span.status.description},
        "attributes": plain(span.attributes or {}),
        "events": [
            {"time": str(event.timestamp), "name": event.name, "attributes": plain(event.attributes or {})}
            for event in span.events
        ],
        "links": [link_truth(link) for link in span.links],
        "scope": scope_of(span.instrumentation_scope),
    }


def series_truth(metric, point):
    series = {"name": metric.name, "unit": metric.unit, "attributes": plain(point.attributes or {})}
    if isinstance(metric.data, Sum):
        return series | {"kind": "counter" if metric.data.is_monotonic else "gauge", "value": point.value}
    if isinstance(metric.data, Gauge):
        return series | {"kind": "gauge", "value": point.value}
    values = {"count": point.count, "sum": point.sum, "min": point.min, "max": point.max}
    return series | {"kind": "histogram"} | values


def metrics_truth(reader):
    scopes = [scope for resource in reader.get_metrics_data().resource_metrics for scope in resource.scope_metrics]
    metrics = [metric for scope in scopes for metric in scope.metrics]
    return [series_truth(metric, point) for metric in metrics for point in metric.data.data_points]


def everything():
    logs, spans, metrics = InMemoryLogRecordExporter(), InMemorySpanExporter(), InMemoryMetricReader()
    loggers = LoggerProvider(resource=RESOURCE)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(logs))
    loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    tracers = TracerProvider(resource=RESOURCE)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    periodic = PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=math.inf)
    exponential = View(instrument_name="interop.exponential", aggregation=ExponentialBucketHistogramAggregation())
    meters = MeterProvider([metrics, periodic], resource=RESOURCE, views=[exponential])

    emit_logs(loggers, tracers.get_tracer("interop.python.around"))
    emit_spans(tracers)
    record_metrics(meters, between=meters.force_flush)

    flushed = loggers.force_flush() and tracers.force_flush() and meters.force_flush()
    truth = {
        "sdk": f"Python {__version__}",
        "flushed": flushed is not False,
        "resource": plain(RESOURCE.attributes),
        "logs": [log_truth(log) for log in logs.get_finished_logs()],
        "spans": [span_truth(span) for span in spans.get_finished_spans()],
        # Totals since the start, whatever the temporality on the wire.
        "metrics": metrics_truth(metrics),
    }
    for provider in (loggers, tracers, meters):
        provider.shutdown()
    return truth


class NotingLogs(LogRecordExporter):
    """Notes what the SDK's exporter said of each record, retries and all."""

    def __init__(self, outcomes):
        self.inner, self.outcomes = OTLPLogExporter(), outcomes

    def export(self, batch):
        result = self.inner.export(batch)
        for readable in batch:
            name = readable.log_record.attributes["name"]
            self.outcomes[name] = result is LogRecordExportResult.SUCCESS
        return result

    def shutdown(self):
        self.inner.shutdown()

    def force_flush(self, timeout_millis=30000):
        return True


class NotingSpans(SpanExporter):
    """The same for spans."""

    def __init__(self, outcomes):
        self.inner, self.outcomes = OTLPSpanExporter(), outcomes

    def export(self, spans):
        result = self.inner.export(spans)
        for span in spans:
            self.outcomes[span.attributes["name"]] = result is SpanExportResult.SUCCESS
        return result

    def shutdown(self):
        self.inner.shutdown()


class TellRetries(logging.Handler):
    """Says on stderr that an export is tried again, so that the test knows."""

    def emit(self, record):
        if "retrying in" in record.getMessage():
            print("retrying", file=sys.stderr, flush=True)


def steadily():
    logging.getLogger("opentelemetry").addHandler(TellRetries())
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            # The SDK keeps what it has just said to itself; here each retry counts.
            logger.filters.clear()
    outcomes = {}
    loggers, tracers = LoggerProvider(resource=RESOURCE), TracerProvider(resource=RESOURCE)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(NotingLogs(outcomes)))
    tracers.add_span_processor(SimpleSpanProcessor(NotingSpans(outcomes)))
    logger, tracer = loggers.get_logger("interop"), tracers.get_tracer("interop")
    stop = threading.Event()

    def send_logs():
        number = 0
        while not stop.is_set():
            logger.emit(body="steadily", attributes={"name": f"log {number}"})
            number += 1

    def send_spans():
        number = 0
        while not stop.is_set():
            tracer.start_span("steadily", attributes={"name": f"span {number}"}).end()
            number += 1

    threads = [threading.Thread(target=send) for send in (send_logs, send_spans)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    loggers.shutdown()
    tracers.shutdown()
    return {"sdk": f"Python {__version__}", "outcomes": outcomes, "resent": []}


MODES = {"everything": everything, "steadily": steadily}
json.dump(MODES[sys.argv[1]](), sys.stdout, ensure_ascii=False)
