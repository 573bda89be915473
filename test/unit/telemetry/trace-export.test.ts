// Spans over TLS: delivered to a collector whose certificate is trusted, to no other.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { selfSigned } from '../../support/self-signed.ts'

const ROOT = join(import.meta.dirname, '..', '..', '..')
const EXPORT = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
/** A process of its own: Node reads the authorities that it trusts once. */
const SEND = `
const [http, grpc, ca] = process.argv.slice(1)
const { randomBytes } = await import('node:crypto')
const { Registry } = await import('prom-client')
const { systemClock } = await import('./kit/clock.ts')
const { createLog } = await import('./kit/log.ts')
const { Tracing } = await import('./telemetry/trace.ts')
const { otlpExporter } = await import('./telemetry/trace-export.ts')
for (const [endpoint, protocol] of [[http, 'http'], [grpc, 'grpc']]) {
  const log = createLog({ process: 'test', levels: 'off' })
  const tracing = new Tracing({ exporter: await otlpExporter(endpoint, protocol, ca), ratio: 1, resource: {}, registry: new Registry(), log,
    clock: systemClock, random: () => 0.5, randomBytes })
  tracing.begin('over-' + protocol, []).end()
  await tracing.stop(1500)
}
process.exit(0)`

describe('otlpExporter over TLS', function () {
  this.timeout('20s')
  const came: string[] = []
  let dir: string
  let own: string
  let other: string
  let endpoints: string[]
  let stop: () => void

  const take = (bytes: Buffer): void => void came.push(...(bytes.toString('latin1').match(/over-(http|grpc)/g) ?? []))

  before(async () => {
    const { certPem, keyPem } = await selfSigned('localhost')
    own = certPem
    other = (await selfSigned('elsewhere')).certPem
    dir = mkdtempSync(join(tmpdir(), 'weft-otlp-'))
    writeFileSync(join(dir, 'cert.pem'), certPem)
    const http = createServer({ cert: certPem, key: keyPem }, (request, response) => {
      request.on('data', take).on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'))
    })
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
    const grpc = new Server()
    const same = (bytes: Buffer): Buffer => bytes
    const bytes = { requestDeserialize: same, requestSerialize: same, responseDeserialize: same, responseSerialize: same }
    grpc.addService(
      { Export: { path: EXPORT, requestStream: false, responseStream: false, ...bytes } },
      {
        Export: (call: { request: Buffer }, done: (error: null, value: Buffer) => void) => {
          take(call.request)
          done(null, Buffer.alloc(0))
        },
      },
    )
    const credentials = ServerCredentials.createSsl(null, [{ cert_chain: Buffer.from(certPem), private_key: Buffer.from(keyPem) }])
    const port = await new Promise<number>((resolve, reject) => {
      grpc.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)))
    })
    endpoints = [(http.address() as AddressInfo).port, port].map((each) => `https://localhost:${each}`)
    stop = () => {
      http.close()
      http.closeAllConnections()
      grpc.forceShutdown()
    }
  })
  after(() => {
    stop?.()
    rmSync(dir, { recursive: true, force: true })
  })

  const all = ['over-http', 'over-grpc']
  const rows: { name: string; trusts: boolean; ca: () => string; want: string[] }[] = [
    { name: 'delivers to a collector whose authority Node trusts', trusts: true, ca: () => '', want: all },
    { name: 'tells nothing to another one', trusts: false, ca: () => '', want: [] },
    { name: 'delivers to a collector of a private authority that is given', trusts: false, ca: () => own, want: all },
    { name: 'one of several that are given', trusts: false, ca: () => other + own, want: all },
    { name: 'tells nothing to one that Node trusts when another authority is given', trusts: true, ca: () => other, want: [] },
  ]
  for (const { name, trusts, ca, want } of rows)
    it(name, async () => {
      came.length = 0
      const env = { PATH: '/usr/bin:/bin', ...(trusts ? { NODE_EXTRA_CA_CERTS: join(dir, 'cert.pem') } : {}) }
      await promisify(execFile)(process.execPath, ['--input-type=module', '-e', SEND, ...endpoints, ca()], { cwd: ROOT, env })
      assert.deepEqual(came, want)
    })
})
