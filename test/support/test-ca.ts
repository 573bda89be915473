// A certificate authority for tests that run a real ztunnel: the certificate service on a Unix socket (reachable from every
// network namespace), signing whatever identity is asked for.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import type { CertificateNames } from '../../certs/ca.ts'
import { CertificateAuthority } from '../../certs/ca.ts'
import { checkCsr, createCsr } from '../../certs/csr.ts'
import { systemClock } from '../../kit/clock.ts'
import type { SpiffeId } from '../../model/identity.ts'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '../../proto/certificate_pb.ts'
import { decodeMessage, encodeMessage } from '../../proto/wire.ts'

const SERVER_NAME = 'istiod.istio-system.svc'

/** A running authority; `settings` are those of a ztunnel that uses it. */
export class TestCa implements AsyncDisposable {
  readonly directory: string
  readonly authority: CertificateAuthority
  readonly asked: string[] = []
  /** Life of what a ztunnel is given from now on; undefined = the authority's own. */
  leafMs: number | undefined
  isRefusing = false
  readonly #server = new Server()

  private constructor(directory: string, authority: CertificateAuthority) {
    this.directory = directory
    this.authority = authority
  }

  /** @param trustDomain of the root */
  static async start(trustDomain = 'cluster.local'): Promise<TestCa> {
    const { authority } = await CertificateAuthority.selfSigned({ trustDomain, clock: systemClock })
    const ca = new TestCa(mkdtempSync('/tmp/weft-test-ca-'), authority)
    await ca.#serve()
    return ca
  }

  get settings(): Record<string, string> {
    const file = (name: string): string => join(this.directory, name)
    return { CA_ADDRESS: `unix:${file('ca.sock')}`, CA_ROOT_CA: file('root-cert.pem'), AUTH_TOKEN: file('token') }
  }

  /** A key and chain for any identity, as a workload has them. */
  async workload(id: string): Promise<{ cert: string; key: string; ca: string }> {
    const { csrPem, keyPem } = await createCsr({ id: id as SpiffeId })
    const chain = await this.#issue(csrPem, { id: id as SpiffeId })
    return { cert: chain.slice(0, -1).join('\n'), key: keyPem, ca: this.authority.rootsPem }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown()
    rmSync(this.directory, { recursive: true })
  }

  async #serve(): Promise<void> {
    const id = 'spiffe://cluster.local/ns/weft-system/sa/controlplane' as SpiffeId
    const { csrPem, keyPem } = await createCsr({ id })
    const chain = await this.#issue(csrPem, { dns: [SERVER_NAME] })
    writeFileSync(join(this.directory, 'root-cert.pem'), this.authority.rootsPem)
    writeFileSync(join(this.directory, 'token'), 'test-token')
    const asIs = (bytes: Buffer): Buffer => bytes
    const method = {
      path: '/istio.v1.auth.IstioCertificateService/CreateCertificate',
      requestStream: false,
      responseStream: false,
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    }
    this.#server.addService({ createCertificate: method } as never, {
      createCertificate: (call: { request: Buffer }, done: (error: Error | null, answer?: Buffer) => void) => {
        this.#answer(call.request).then(
          (answer) => done(null, answer),
          (error: unknown) => done(error as Error),
        )
      },
    })
    const pair = { private_key: Buffer.from(keyPem), cert_chain: Buffer.from(chain.slice(0, -1).join('\n')) }
    await new Promise<void>((resolve, reject) => {
      this.#server.bindAsync(`unix:${join(this.directory, 'ca.sock')}`, ServerCredentials.createSsl(null, [pair]), (error) =>
        error === null ? resolve() : reject(error),
      )
    })
  }

  async #answer(bytes: Buffer): Promise<Buffer> {
    const request = decodeMessage(IstioCertificateRequestSchema, bytes)
    if (!request.ok) throw new Error(request.errors.join('; '))
    const id = String((request.value.metadata as Record<string, unknown> | undefined)?.ImpersonatedIdentity) as SpiffeId
    this.asked.push(id)
    if (this.isRefusing) throw new Error('refused, as the test wants it')
    return encodeMessage(IstioCertificateResponseSchema, { certChain: await this.#issue(request.value.csr, { id }, this.leafMs) })
  }

  async #issue(csrPem: string, names: CertificateNames, ttlMs?: number): Promise<string[]> {
    const csr = await checkCsr(csrPem)
    if (!csr.ok) throw new Error(csr.errors.join('; '))
    const issued = await this.authority.issue({ publicKey: csr.value.publicKey, ...names, ...(ttlMs !== undefined && { ttlMs }) })
    return [...issued.chainPem, issued.rootsPem]
  }
}
