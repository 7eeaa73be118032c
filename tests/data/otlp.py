"""Makes stalwart-otlp.ndjson.zst and stalwart-otlp-expected.ndjson.zst of recorded OTLP bodies (NNN.logs.pb, NNN.traces.pb,
NNN.metrics.pb in a folder): the bodies themselves, and what the hub must make of them, by OpenTelemetry's own Python
messages and nothing of the hub's.

    pip install opentelemetry-proto zstandard && python otlp.py FOLDER
"""

import base64
import glob
import json
import sys
from datetime import datetime, timezone

import zstandard
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

IDENTITY = ["service.name", "service.namespace", "service.instance.id", "host.name"]
LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
KINDS = [None, "internal", "server", "client", "producer", "consumer"]


def value(any_value):
    kind = any_value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [value(item) for item in any_value.array_value.values]
    if kind == "kvlist_value":
        return attributes(any_value.kvlist_value.values)
    found = getattr(any_value, kind)
    return base64.b64encode(found).decode() if kind == "bytes_value" else found


def attributes(pairs):
    found = {}
    for pair in pairs:
        found.setdefault(pair.key, value(pair.value))
    return found


def time(nanoseconds):
    seconds, rest = divmod(nanoseconds, 10**9)
    text = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f"{rest:09}"
    decimals = 0 if rest == 0 else 3 if rest % 10**6 == 0 else 6 if rest % 10**3 == 0 else 9
    return text + ("." + digits[:decimals] if decimals else "") + "Z"


def log(record, scope, resource):
    own = attributes(record.attributes)
    span_id = record.span_id.hex() or None
    if span_id is None and "spanId" in own:
        span_id = str(own.pop("spanId"))
    data = {**resource, **attributes(scope.attributes), **own}
    order = [*own, *attributes(scope.attributes), *resource]
    return {
        "createdAt": time(record.time_unix_nano or record.observed_time_unix_nano),
        "signal": "log",
        "type": record.event_name or own.get("event.name") or scope.name or "log",
        "level": LEVELS[(record.severity_number - 1) // 4] if record.severity_number else None,
        "text": record.body.string_value or None,
        "traceId": record.trace_id.hex() or None,
        "spanId": span_id,
        "data": {name: data[name] for name in dict.fromkeys(order)},
    }


def span(record, scope, resource):
    data = attributes(record.attributes)
    for shared in (attributes(scope.attributes), resource):
        for name, found in shared.items():
            data.setdefault(name, found)
    data["startTime"] = time(record.start_time_unix_nano)
    data["duration"] = (record.end_time_unix_nano - record.start_time_unix_nano) / 1e6
    data["kind"] = KINDS[record.kind]
    data["status"] = {"code": ["unset", "ok", "error"][record.status.code]}
    assert not record.links and not record.trace_state and not record.status.message
    assert not record.dropped_attributes_count and not record.dropped_events_count
    if record.events:
        data["events"] = [
            {"time": time(event.time_unix_nano), "name": event.name}
            | ({"attributes": attributes(event.attributes)} if event.attributes else {})
            for event in record.events
        ]
    return {
        "createdAt": time(record.end_time_unix_nano),
        "signal": "span",
        "type": record.name,
        "level": "ERROR" if record.status.code == 2 else "INFO",
        "traceId": record.trace_id.hex(),
        "spanId": record.span_id.hex(),
        "parentSpanId": record.parent_span_id.hex() or None,
        "data": data,
    }


def points(metric):
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    for point in data.data_points:
        sample = {"id": metric.name, "unit": metric.unit or None}
        if kind == "histogram":
            assert data.aggregation_temporality == 2
            sample |= {"type": "histogram", "count": point.count, "sum": point.sum}
            sample |= {"min": point.min} if point.HasField("min") else {}
            sample |= {"max": point.max} if point.HasField("max") else {}
        else:
            counts = kind == "sum" and data.is_monotonic
            assert not counts or data.aggregation_temporality == 2
            sample["type"] = "counter" if counts else "gauge"
            sample["value"] = getattr(point, point.WhichOneof("value"))
        yield sample, attributes(point.attributes)


def bodies(folder, signal, message):
    for path in sorted(glob.glob(f"{folder}/*.{signal}.pb")):
        body = open(path, "rb").read()
        request = message()
        request.ParseFromString(body)
        yield body, request


def write(path, lines):
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    open(path, "wb").write(zstandard.ZstdCompressor(level=19).compress(text.encode()))


def main(folder):
    sent, events, series = [], [], {}
    for body, request in bodies(folder, "logs", ExportLogsServiceRequest):
        sent.append({"signal": "logs", "body": base64.b64encode(body).decode()})
        for resource in request.resource_logs:
            shared = attributes(resource.resource.attributes)
            for scope in resource.scope_logs:
                events += [log(record, scope.scope, shared) for record in scope.log_records]
    for body, request in bodies(folder, "traces", ExportTraceServiceRequest):
        sent.append({"signal": "traces", "body": base64.b64encode(body).decode()})
        for resource in request.resource_spans:
            shared = attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                events += [span(record, scope.scope, shared) for record in scope.spans]
    for body, request in bodies(folder, "metrics", ExportMetricsServiceRequest):
        sent.append({"signal": "metrics", "body": base64.b64encode(body).decode()})
        for resource in request.resource_metrics:
            shared = attributes(resource.resource.attributes)
            who = {name: shared[name] for name in IDENTITY if name in shared}
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for sample, own in points(metric):
                        sample["attributes"] = {**who, **own}
                        key = (sample["id"], sample["type"], json.dumps(sample["attributes"], sort_keys=True))
                        series[key] = sample
    present = [{name: found for name, found in event.items() if found is not None} for event in events]
    write("stalwart-otlp.ndjson.zst", sent)
    write("stalwart-otlp-expected.ndjson.zst", present + [{"series": sample} for sample in series.values()])
    print(f"{len(sent)} bodies, {len(events)} events, {len(series)} series")


main(sys.argv[1])
