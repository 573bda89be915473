// The door of the certificate service: how many come in at once and per second from one address, and what the others are told.
import assert from 'node:assert/strict'
import { Client, credentials, Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js'
import { describe, it } from 'mocha'
import {
  addCertificateService,
  type CertificateServiceOptions,
  CREATE_CERTIFICATE_PATH,
} from '../../../../controlplane/ca/certificate-service.ts'
import type { SignAnswer, SignRequest } from '../../../../controlplane/ca/sign.ts'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '../../../../proto/certificate_pb.ts'
import { decodeMessage, encodeMessage } from '../../../../proto/wire.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { until } from '../../../support/xds-pair.ts'

const asIs = (bytes: Buffer): Buffer => bytes
const BODY = encodeMessage(IstioCertificateRequestSchema, { csr: 'CSR', validityDuration: 60n, metadata: { ImpersonatedIdentity: 'ID' } })

class Stage implements Disposable {
  readonly clock = new FakeClock()
  readonly results: string[] = []
  readonly floods: string[] = []
  readonly hopeless: string[] = []
  readonly #server = new Server()
  #client: Client | undefined

  static async open(sign: CertificateServiceOptions['sign'], peerRate?: CertificateServiceOptions['peerRate']): Promise<Stage> {
    const stage = new Stage()
    addCertificateService(stage.#server, {
      sign,
      onAnswer: (result) => stage.results.push(result),
      onFlood: (host, count) => stage.floods.push(`${host} ${count}`),
      onHopeless: (host) => stage.hopeless.push(host),
      clock: stage.clock,
      ...(peerRate !== undefined && { peerRate }),
    })
    const port = await new Promise<number>((resolve, reject) => {
      const bound = (error: Error | null, given: number): void => (error === null ? resolve(given) : reject(error))
      stage.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), bound)
    })
    stage.#client = new Client(`127.0.0.1:${port}`, credentials.createInsecure())
    return stage
  }

  /** @returns the chain or the name of the code */
  ask(fields: Record<string, string> = {}): Promise<readonly string[] | string> {
    const metadata = new Metadata()
    for (const [name, value] of Object.entries(fields)) metadata.set(name, value)
    return new Promise((resolve) => {
      this.#client?.makeUnaryRequest(CREATE_CERTIFICATE_PATH, asIs, asIs, BODY, metadata, (error, answer) => {
        const decoded = answer === undefined ? undefined : decodeMessage(IstioCertificateResponseSchema, answer)
        resolve(decoded?.ok === true ? decoded.value.certChain : (status[error?.code ?? 0] ?? ''))
      })
    })
  }

  [Symbol.dispose](): void {
    this.#client?.close()
    this.#server.forceShutdown()
  }
}

describe('controlplane/ca/certificate-service', () => {
  it('hands over token, cluster and body, and answers with the chain', async () => {
    const seen: unknown[] = []
    using stage = await Stage.open(async ({ token, clusterId, peer, read }: SignRequest): Promise<SignAnswer> => {
      seen.push(token, clusterId, peer.replace(/\d+$/, ''), await read())
      return ['leaf', 'root']
    })
    assert.deepEqual(await stage.ask({ authorization: 'Bearer abc', clusterid: 'one' }), ['leaf', 'root'])
    assert.deepEqual(seen, ['abc', 'one', '127.0.0.1:', { ok: true, value: { csrPem: 'CSR', impersonated: 'ID', lifeMs: 60_000 } }])
    assert.deepEqual(stage.results, ['issued'])
  })

  it('tells the refused nothing, and those that come too often to come later', async () => {
    const answers: SignAnswer[] = ['refused', 'busy']
    using stage = await Stage.open(() => Promise.resolve(answers.shift() ?? 'refused'))
    assert.deepEqual([await stage.ask(), await stage.ask()], ['UNAUTHENTICATED', 'RESOURCE_EXHAUSTED'])
    assert.deepEqual(stage.results, ['refused', 'busy'])
  })

  it('turns a flood of one address away unread, tells of it now and then, and lets it in again later', async () => {
    let asked = 0
    using stage = await Stage.open(
      () => {
        asked++
        return Promise.resolve('refused')
      },
      { burst: 5, perSecond: 1 },
    )
    const answers: unknown[] = []
    for (let i = 0; i < 20; i++) answers.push(await stage.ask())
    assert.deepEqual([...new Set(answers)], ['UNAUTHENTICATED', 'RESOURCE_EXHAUSTED'])
    assert.equal(asked, 5)
    assert.deepEqual(stage.floods, ['127.0.0.1 1'])
    await stage.clock.advance(10_000)
    for (let i = 0; i < 10; i++) await stage.ask()
    assert.equal(asked, 10)
    assert.deepEqual(stage.floods, ['127.0.0.1 1', '127.0.0.1 15'])
  })

  it('gives an address up that goes on after a thousand refusals', async () => {
    using stage = await Stage.open(() => Promise.resolve(['LEAF', 'ROOT']), { burst: 1, perSecond: 0.001 })
    for (let i = 0; i < 1001; i++) await stage.ask()
    assert.deepEqual(stage.hopeless, [])
    await stage.ask()
    assert.deepEqual(stage.hopeless, ['127.0.0.1'])
  })

  it('has 32 requests of one address under way at most', async () => {
    const waiting: (() => void)[] = []
    using stage = await Stage.open(() => new Promise((resolve) => waiting.push(() => resolve('refused'))))
    const answers = Array.from({ length: 40 }, () => stage.ask())
    await until('the rest is turned away', () => stage.results.length === 8)
    assert.equal(waiting.length, 32)
    for (const end of waiting) end()
    const names = (await Promise.all(answers)) as string[]
    assert.equal(names.filter((name) => name === 'RESOURCE_EXHAUSTED').length, 8)
    const again = stage.ask()
    await until('there is room again', () => waiting.length === 33)
    waiting.at(-1)?.()
    assert.equal(await again, 'UNAUTHENTICATED')
  })
})
