// decode.js FILE...: the spans of each file, an ExportTraceServiceRequest in Protobuf's binary form, one a line of JSON.
'use strict';
const fs = require('fs');
const module_path = require.resolve('@opentelemetry/otlp-transformer/build/src/generated/root.js', {
  paths: [process.env.OTLP_DECODER_DIR],
});
const { ExportTraceServiceRequest } = require(module_path).opentelemetry.proto.collector.trace.v1;

const hex = (bytes) => Buffer.from(bytes ?? []).toString('hex');
const value = (v) => (v.value === 'intValue' ? Number(v.intValue) : v[v.value]);
const table = (attributes) => Object.fromEntries(attributes.map((a) => [a.key, value(a.value)]));

for (const file of process.argv.slice(2)) {
  const request = ExportTraceServiceRequest.decode(fs.readFileSync(file));
  for (const resource of request.resourceSpans)
    for (const scope of resource.scopeSpans)
      for (const span of scope.spans)
        console.log(
          JSON.stringify({
            resource: table(resource.resource.attributes),
            scope: scope.scope.name,
            trace: hex(span.traceId),
            span: hex(span.spanId),
            parent: hex(span.parentSpanId),
            name: span.name,
            kind: span.kind,
            begin: span.startTimeUnixNano.toString(),
            end: span.endTimeUnixNano.toString(),
            attributes: table(span.attributes),
            status: span.status ? { code: span.status.code, message: span.status.message } : null,
          })
        );
}
