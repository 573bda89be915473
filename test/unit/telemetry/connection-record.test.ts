// One record: labels in Istio's order, bytes reversed at the source, one line, finished once.
import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import type { Clock } from '../../../kit/clock.ts'
import { createLog } from '../../../kit/log.ts'
import type { IpAddress } from '../../../model/address.ts'
import type { SpiffeId } from '../../../model/identity.ts'
import { AccessLog } from '../../../telemetry/access-log.ts'
import { MAX_LABEL_SETS, TcpMetrics } from '../../../telemetry/metrics.ts'
import { TCP_LABELS } from '../../../telemetry/names.ts'
import { ztunnelFailure } from '../../../ztunnel/errors.ts'
import { RecordBook } from '../../../telemetry/connection-record.ts'
import type { ConnectionFacts } from '../../../telemetry/connection-record.ts'

const FACTS: ConnectionFacts = {
  direction: 'outbound',
  source: {
    address: { ip: '10.0.0.1' as IpAddress, port: 4000 },
    workload: { name: 'client-1', namespace: 'shop', workloadName: 'client', canonicalName: 'client', clusterId: 'Kubernetes' },
    identity: 'spiffe://cluster.local/ns/shop/sa/client' as SpiffeId,
  },
  destination: {
    address: { ip: '10.0.0.2' as IpAddress, port: 15008 },
    workload: { name: 'server-1', namespace: 'shop', workloadName: 'server' },
    identity: 'spiffe://cluster.local/ns/shop/sa/server' as SpiffeId,
  },
  hboneAddress: '10.0.0.2:80',
  service: { name: 'web', namespace: 'shop', hostname: 'web.shop.svc.cluster.local' },
}

function setUp(): { book: RecordBook; metrics: TcpMetrics; lines: Record<string, unknown>[]; tick(ms: number): void } {
  const lines: Record<string, unknown>[] = []
  const destination = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)))
      done()
    },
  })
  let now = 0
  const clock: Clock = {
    nowMs: () => now,
    monotonicMs: () => now,
    after: () => ({ unref: () => undefined, [Symbol.dispose]: () => undefined }),
  }
  const tick = (ms: number): void => {
    now += ms
  }
  const metrics = new TcpMetrics()
  const access = new AccessLog(createLog({ process: 'test', destination: destination as never }))
  return { book: new RecordBook({ metrics, access, clock }), metrics, lines, tick }
}

describe('connection record', () => {
  it('counts, labels and logs one outbound connection', async () => {
    const { book, metrics, lines, tick } = setUp()
    const traffic = { request: 0, response: 0 }
    const record = book.open(FACTS, () => traffic)
    traffic.request = 11
    assert.match(await metrics.registry.metrics(), /istio_tcp_received_bytes_total\{reporter="source",source_workload="client".*\} 11/)
    traffic.response = 22
    tick(12)
    record.finish()
    const text = await metrics.registry.metrics()
    const line = text.split('\n').find((row) => row.startsWith('istio_tcp_sent_bytes_total')) ?? ''
    assert.deepEqual(
      [...line.matchAll(/(\w+)="/g)].map((found) => found[1]),
      [...TCP_LABELS],
    )
    assert.match(
      line,
      /source_canonical_revision="unknown".*request_protocol="tcp",response_flags="-",connection_security_policy="mutual_tls".*\} 22$/,
    )
    const got = lines.at(-1) ?? {}
    assert.equal(got.message, 'connection complete')
    assert.equal(got.scope, 'access')
    assert.deepEqual(
      [got['src.identity'], got['dst.identity'], got.bytes_sent, got.bytes_recv, got.duration, got['dst.service'], got.direction],
      [FACTS.source.identity, FACTS.destination.identity, 11, 22, '12ms', 'web.shop.svc.cluster.local', 'outbound'],
    )
    assert.throws(() => record.finish(), /finished twice/)
  })

  it('flags failures', async () => {
    const { book, metrics, lines } = setUp()
    book.open(FACTS, () => ({ request: 0, response: 0 })).finish(ztunnelFailure('POLICY_DENIED'))
    assert.match(await metrics.registry.metrics(), /istio_tcp_connections_failed_total\{.*response_flags="DENY".*\} 1/)
    assert.equal(lines.at(-1)?.code, 'POLICY_DENIED')
  })

  it('bounds the label sets', () => {
    const metrics = new TcpMetrics()
    for (let i = 0; i < MAX_LABEL_SETS + 5; i++) metrics.handle({ reporter: 'source', source_workload: `w${i}` })
    assert.equal(
      metrics.handle({ reporter: 'source', source_workload: 'new-1' }),
      metrics.handle({ reporter: 'source', source_workload: 'new-2' }),
    )
    assert.notEqual(
      metrics.handle({ reporter: 'source', source_workload: 'w1' }),
      metrics.handle({ reporter: 'source', source_workload: 'w2' }),
    )
  })
})
