// A small traced program of the OpenTelemetry SDK for Node: node node.cjs json|proto|grpc <endpoint> <compression> [large]
// With `large`, one attribute is a whole number beyond 64 bits.
// It prints the spans it made, one JSON object per line, in the words of tests/support/dump.py.
'use strict';

const { randomBytes } = require('node:crypto');
const api = require('@opentelemetry/api');
const { BatchSpanProcessor, InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } = require('@opentelemetry/sdk-trace-node');
const { resourceFromAttributes } = require('@opentelemetry/resources');

const [protocol, url, compression, large] = process.argv.slice(2);
const packages = { json: 'http', proto: 'proto', grpc: 'grpc' };
const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${packages[protocol]}`);

const failures = [];
const exporter = new OTLPTraceExporter({ url, compression, timeoutMillis: 10000 });
const send = exporter.export.bind(exporter);
exporter.export = (spans, done) => send(spans, (result) => { if (result.code !== 0) failures.push(result.error); done(result); });

const remembered = new InMemorySpanExporter();
const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ 'service.name': 'node-app', numbers: [1, 2], ratio: 1.0 }),
  spanProcessors: [new SimpleSpanProcessor(remembered), new BatchSpanProcessor(exporter)],
});
provider.register();
const tracer = provider.getTracer('my.tracer', '1.2', { schemaUrl: 'https://example.com/schema' });

const far = {
  traceId: randomBytes(16).toString('hex'), spanId: '1234567890abcdef', isRemote: true, traceFlags: 1,
  traceState: api.createTraceState('vendor=state'),
};
const options = { kind: api.SpanKind.SERVER, links: [{ context: far, attributes: { why: 'batch' } }] };
const caller = api.trace.setSpanContext(api.ROOT_CONTEXT, far);

tracer.startActiveSpan('POST /ask', options, caller, (root) => {
  root.setAttributes({ text: '보험 \u{1f600}', flag: false, count: 2 ** 53 - 1, whole: 1.0, share: 0.5, list: ['a', 'b'] });
  if (large) root.setAttribute('large', 1e300);
  root.addEvent('evalvault.asset.used', { 'evalvault.asset.kind': 'prompt', 'evalvault.asset.name': 'p' });
  tracer.startActiveSpan('retrieve', { attributes: { 'evalvault.stage.type': 'retrieval' } }, (span) => {
    span.setAttribute('evalvault.retrieval.scores', [1.0, 0.25]);
    span.setStatus({ code: api.SpanStatusCode.ERROR, message: 'no index' });
    span.end();
  });
  tracer.startActiveSpan('answer', { attributes: { 'evalvault.stage.type': 'output' } }, (span) => {
    span.recordException(new RangeError('k'));
    span.setStatus({ code: api.SpanStatusCode.OK });
    span.end();
  });
  // Enough for a body of many chunks.
  for (let number = 0; number < 300; number += 1) {
    tracer.startSpan(`step ${number}`, { attributes: { number, text: 'x'.repeat(1000) } }).end();
  }
  root.end();
});

const nanoseconds = ([seconds, rest]) => (BigInt(seconds) * 1000000000n + BigInt(rest)).toString();
const flags = (context, remote) => context.traceFlags | 0x100 | (remote ? 0x200 : 0);
const ids = (context) => ({ trace_id: context.traceId, span_id: context.spanId, trace_state: context.traceState?.serialize() ?? '' });

const asDump = (span) => ({
  ...ids(span.spanContext()),
  parent_span_id: span.parentSpanContext?.spanId ?? '',
  flags: flags(span.spanContext(), span.parentSpanContext?.isRemote),
  name: span.name,
  kind: span.kind + 1,
  start_ns: nanoseconds(span.startTime),
  end_ns: nanoseconds(span.endTime),
  status_code: span.status.code,
  status_message: span.status.message ?? '',
  attributes: span.attributes,
  events: span.events.map((event) => ({ time_ns: nanoseconds(event.time), name: event.name, attributes: event.attributes ?? {} })),
  links: span.links.map((link) => ({ ...ids(link.context), attributes: link.attributes ?? {}, flags: flags(link.context, link.context.isRemote) })),
  resource: { attributes: span.resource.attributes, schema_url: span.resource.schemaUrl ?? '' },
  scope: { name: span.instrumentationScope.name, version: span.instrumentationScope.version ?? '', attributes: {}, schema_url: span.instrumentationScope.schemaUrl ?? '' },
});

provider.forceFlush().then(() => {
  for (const span of remembered.getFinishedSpans()) process.stdout.write(`${JSON.stringify(asDump(span))}\n`);
  for (const failure of failures) process.stderr.write(`not exported: ${failure}\n`);
  process.exitCode = failures.length ? 1 : 0;
  return provider.shutdown();
});
