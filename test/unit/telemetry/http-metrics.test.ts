// The metrics of requests as Prometheus gets them: Istio's names, labels in Istio's order, Istio's buckets, bounded.
import assert from 'node:assert/strict'
import { HttpMetrics, MAX_HTTP_LABEL_SETS } from '../../../telemetry/http-metrics.ts'
import type { HttpOutcome, HttpPeerLabels } from '../../../telemetry/http-metrics.ts'

const PEERS: HttpPeerLabels = {
  source_workload: 'client',
  source_canonical_service: 'client',
  source_workload_namespace: 'shop',
  source_principal: 'spiffe://cluster.local/ns/shop/sa/client',
  destination_workload: 'reviews-v1',
  destination_service: 'reviews.shop.svc.cluster.local',
  destination_service_name: 'reviews',
  destination_service_namespace: 'shop',
}

/** As Envoy's Istio filter writes the labels of one request. */
const PEER_TEXT =
  'reporter="waypoint",source_workload="client",source_canonical_service="client",source_canonical_revision="latest",' +
  'source_workload_namespace="shop",source_principal="spiffe://cluster.local/ns/shop/sa/client",source_app="unknown",' +
  'source_version="unknown",source_cluster="unknown",destination_workload="reviews-v1",destination_workload_namespace="unknown",' +
  'destination_principal="unknown",destination_app="unknown",destination_version="unknown",' +
  'destination_service="reviews.shop.svc.cluster.local",destination_canonical_service="unknown",' +
  'destination_canonical_revision="unknown",destination_service_name="reviews",destination_service_namespace="shop",' +
  'destination_cluster="unknown"'

const BOUNDS = [
  '0.5',
  '1',
  '5',
  '10',
  '25',
  '50',
  '100',
  '250',
  '500',
  '1000',
  '2500',
  '5000',
  '10000',
  '30000',
  '60000',
  '300000',
  '600000',
  '1800000',
  '3600000',
  '+Inf',
]

function outcomeOf(change: Partial<HttpOutcome> = {}): HttpOutcome {
  return { isGrpc: false, status: 200, grpcStatus: undefined, flags: '', durationMs: 7, requestBytes: 0, responseBytes: 100, ...change }
}

describe('HttpMetrics', () => {
  let metrics: HttpMetrics

  beforeEach(() => {
    metrics = new HttpMetrics()
  })

  const text = (): string => [...metrics.text()].join('')
  const lines = (name: string): string[] =>
    [...metrics.text()].flatMap((piece) =>
      piece.includes(`${name}{`) ? piece.split('\n').filter((line) => line.startsWith(`${name}{`)) : [],
    )

  const OUTCOMES: readonly { readonly name: string; readonly given: Partial<HttpOutcome>; readonly want: string }[] = [
    { name: 'HTTP', given: {}, want: 'request_protocol="http",response_code="200",grpc_response_status="",response_flags="-"' },
    {
      name: 'HTTP with a status of gRPC',
      given: { grpcStatus: 3 },
      want: 'request_protocol="http",response_code="200",grpc_response_status="",response_flags="-"',
    },
    {
      name: 'gRPC',
      given: { isGrpc: true, grpcStatus: 0 },
      want: 'request_protocol="grpc",response_code="200",grpc_response_status="0",response_flags="-"',
    },
    {
      name: 'gRPC without a status',
      given: { isGrpc: true },
      want: 'request_protocol="grpc",response_code="200",grpc_response_status="",response_flags="-"',
    },
    {
      name: 'gRPC with a status nobody knows',
      given: { isGrpc: true, grpcStatus: 123_456 },
      want: 'request_protocol="grpc",response_code="200",grpc_response_status="unknown",response_flags="-"',
    },
    {
      name: 'no response',
      given: { status: 0, flags: 'DC' },
      want: 'request_protocol="http",response_code="0",grpc_response_status="",response_flags="DC"',
    },
    {
      name: 'several flags',
      given: { status: 503, flags: 'UF,URX' },
      want: 'request_protocol="http",response_code="503",grpc_response_status="",response_flags="UF,URX"',
    },
    {
      name: 'a code nobody knows',
      given: { status: 999 },
      want: 'request_protocol="http",response_code="unknown",grpc_response_status="",response_flags="-"',
    },
  ]
  for (const { name, given, want } of OUTCOMES) {
    it(`labels ${name} as Istio does`, () => {
      metrics.peers(PEERS).record(outcomeOf(given))
      assert.deepEqual(lines('istio_requests_total'), [
        `istio_requests_total{${PEER_TEXT},${want},connection_security_policy="mutual_tls"} 1`,
      ])
    })
  }

  it('gives histograms the buckets of Istio', () => {
    const peers = metrics.peers(PEERS)
    for (const durationMs of [0.5, 0.6, 9, 10, 10.1, 3_600_000, 3_600_001]) peers.record(outcomeOf({ durationMs }))
    const labels = `${PEER_TEXT},request_protocol="http",response_code="200",grpc_response_status="",response_flags="-",connection_security_policy="mutual_tls"`
    const counts = [1, 2, 2, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 6, 7]
    assert.deepEqual(
      lines('istio_request_duration_milliseconds_bucket'),
      BOUNDS.map((le, at) => `istio_request_duration_milliseconds_bucket{le="${le}",${labels}} ${counts[at]}`),
    )
    assert.deepEqual(lines('istio_request_duration_milliseconds_count'), [`istio_request_duration_milliseconds_count{${labels}} 7`])
    assert.deepEqual(lines('istio_request_duration_milliseconds_sum'), [`istio_request_duration_milliseconds_sum{${labels}} 7200031.2`])
    assert.equal(lines('istio_request_bytes_bucket').length, BOUNDS.length)
    assert.deepEqual(lines('istio_response_bytes_sum'), [`istio_response_bytes_sum{${labels}} 700`])
  })

  it('says what each metric is', () => {
    const types = text()
      .split('\n')
      .filter((line) => line.startsWith('# TYPE'))
    assert.deepEqual(types, [
      '# TYPE istio_requests_total counter',
      '# TYPE istio_request_duration_milliseconds histogram',
      '# TYPE istio_request_bytes histogram',
      '# TYPE istio_response_bytes histogram',
      '# TYPE istio_request_messages_total counter',
      '# TYPE istio_response_messages_total counter',
    ])
  })

  it('counts gRPC messages by peers alone, and only where there was gRPC', () => {
    metrics.peers({ ...PEERS, source_workload: 'browser' }).record(outcomeOf())
    const peers = metrics.peers(PEERS)
    peers.addMessages(1, 0)
    metrics.beforeScrape(() => metrics.peers(PEERS).addMessages(0, 5)) // asked for once per scrape
    peers.addMessages(1, 0)
    const read = text()
    assert.ok(read.includes(`\nistio_request_messages_total{${PEER_TEXT}} 2\n`), read)
    assert.ok(read.includes(`\nistio_response_messages_total{${PEER_TEXT}} 5\n`), read)
    assert.ok(!/istio_re[a-z]+_messages_total\{.*browser/.test(read))
  })

  it('gives the same handle for the same labels', () => {
    assert.equal(metrics.peers(PEERS), metrics.peers({ ...PEERS, source_app: '' }))
  })

  it('escapes what would end a label', () => {
    metrics.peers({ ...PEERS, source_app: 'a"b\\c\nd' }).record(outcomeOf())
    assert.match(lines('istio_requests_total')[0] ?? '', /source_app="a\\"b\\\\c\\nd",/)
  })

  it('is read back by a parser of its own, each family once and whole', () => {
    metrics.peers(PEERS).record(outcomeOf())
    metrics.peers({ ...PEERS, source_app: 'b' }).record(outcomeOf({ isGrpc: true }))
    metrics.peers(PEERS).addMessages(1, 1)
    const families = text().split('\n\n')
    assert.equal(families.length, 6)
    for (const family of families) {
      const [help = '', type = '', ...rest] = family.trimEnd().split('\n')
      const name = /^# HELP ([a-z_]+) ./.exec(help)?.[1] ?? '-'
      assert.ok(type.startsWith(`# TYPE ${name} `), type)
      assert.ok(rest.length > 0)
      for (const line of rest)
        assert.match(line, new RegExp(`^${name}(?:_bucket|_sum|_count)?\\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\\} [0-9.]+$`))
    }
  })

  it('is made piece by piece, none of them long', () => {
    for (let n = 0; n < 600; n++) metrics.peers({ ...PEERS, source_app: `app-${n}` }).record(outcomeOf())
    const pieces = [...metrics.text()]
    assert.ok(pieces.length > 4 * 600, `${pieces.length} pieces`)
    const longest = Math.max(...pieces.map(({ length }) => length))
    assert.ok(longest < 32 * 1024, `a piece of ${longest} characters`)
  })

  it('stays bounded under a flood of peers', () => {
    for (let n = 0; n < MAX_HTTP_LABEL_SETS + 500; n++) metrics.peers({ source_workload: `w${n}` }).record(outcomeOf())
    const found = lines('istio_requests_total')
    assert.equal(found.length, MAX_HTTP_LABEL_SETS + 1)
    assert.match(found.at(-1) ?? '', /source_workload="unknown".*response_code="unknown".* 500$/)
  })

  it('stays bounded under a flood of answers, and counts all of them', () => {
    for (let client = 0; client < 20; client++) {
      const peers = metrics.peers({ source_workload: `w${client}` })
      for (let status = 100; status < 1100; status++) peers.record(outcomeOf({ status }))
    }
    const found = lines('istio_requests_total')
    assert.equal(found.length, MAX_HTTP_LABEL_SETS + 1)
    assert.equal(
      found.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0),
      20_000,
    )
  })
})
