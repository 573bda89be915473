// How many certificates per second one core of the control plane issues, tokens being known: requests over gRPC and TLS to the service with
// all its checks in a process of its own, whose CPU time counts. Beside it the parts: the check of a request, a leaf from the template, and
// the same leaf built by @peculiar/x509.
//   node_modules/.bin/node bench/certificates.ts [SECONDS]
import { type ChildProcess, fork } from 'node:child_process'
import { generateKeyPairSync, type webcrypto } from 'node:crypto'
import { once } from 'node:events'
import { Client, credentials, Metadata, Server, ServerCredentials } from '@grpc/grpc-js'
import { SignJWT } from 'jose'
import '../certs/x509.ts'
import * as x509 from '@peculiar/x509'
import { CertificateAuthority } from '../certs/ca.ts'
import { checkCsr, createCsr } from '../certs/csr.ts'
import { formatTable } from '../cli/output.ts'
import { addCertificateService, CREATE_CERTIFICATE_PATH } from '../controlplane/ca/certificate-service.ts'
import { PodIndex } from '../controlplane/ca/pod-index.ts'
import { sign } from '../controlplane/ca/sign.ts'
import { TokenCache } from '../controlplane/ca/token-cache.ts'
import { RateLimit } from '../controlplane/rate.ts'
import { systemClock } from '../kit/clock.ts'
import { createLog } from '../kit/log.ts'
import type { SpiffeId } from '../model/identity.ts'
import type { Pod } from '../model/object.ts'
import { IstioCertificateRequestSchema } from '../proto/certificate_pb.ts'
import { encodeMessage } from '../proto/wire.ts'
import { pod } from '../test/support/fake-source.ts'
import { selfSigned } from '../test/support/self-signed.ts'
import { cpuSeconds } from './measure.ts'

const NODES = 100
const ACCOUNTS_PER_NODE = 20
const CONNECTIONS = 4
const AT_ONCE_PER_CONNECTION = 7 // below the limit of one address in flight
const REQUESTS = 200
const WARM_UP_MS = 2000
const NO_LIMIT = { burst: 1e9, perSecond: 1e9 }
const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const asIs = (bytes: Buffer): Buffer => bytes
const accountOf = (node: number, account: number): string => `app-${node}-${account}`

if (process.argv[2] === 'serve') await serve()
else await main(Number(process.argv[2] ?? 10))

async function main(seconds: number): Promise<void> {
  const rows = await parts(Math.min(seconds, 3))
  const child = fork(import.meta.filename, ['serve'], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  try {
    rows.push(await overGrpc(child, seconds))
  } finally {
    child.kill()
  }
  process.stdout.write(`${formatTable(['what', 'per second', 'per CPU second', 'CPU ms each'], rows)}\n`)
}

/** The service as the control plane runs it, its limits lifted: one address plays a hundred nodes. */
async function serve(): Promise<void> {
  const { authority } = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock: systemClock })
  const pods = new PodIndex()
  for (let node = 0; node < NODES; node++) {
    const place = { node: `node-${node}` }
    const all = [pod('weft-system', `ztunnel-${node}`, { ...place, uid: `z-${node}`, serviceAccount: 'ztunnel' })]
    for (let i = 0; i < ACCOUNTS_PER_NODE; i++) all.push(pod('shop', accountOf(node, i), { ...place, serviceAccount: accountOf(node, i) }))
    pods.fill(all as Pod[])
  }
  const tokens = new TokenCache({
    reviewToken: (token) => Promise.resolve({ authenticated: true, user: JSON.parse(claimsOf(token)).user }),
    clock: systemClock,
  })
  const options = {
    pods,
    trustedAccounts: new Set(['weft-system/ztunnel']),
    gateways: () => [],
    reviewToken: (token: string, audience: string) => tokens.review(token, audience),
    authority: () => authority,
    trustDomain: 'cluster.local',
    clusterId: 'Kubernetes',
    limit: new RateLimit({ ...NO_LIMIT, clock: systemClock }),
    log: createLog({ process: 'controlplane', levels: 'info' }).scope('audit'),
  }
  const server = new Server()
  addCertificateService(server, { sign: (request) => sign(request, options), clock: systemClock, peerRate: NO_LIMIT })
  const { certPem: cert, keyPem: key } = await selfSigned('localhost')
  const tls = ServerCredentials.createSsl(null, [{ cert_chain: Buffer.from(cert), private_key: Buffer.from(key) }])
  server.bindAsync('127.0.0.1:0', tls, (error, port) => process.send?.({ port, cert, error: error?.message }))
}

function claimsOf(token: string): string {
  return Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')
}

async function overGrpc(child: ChildProcess, seconds: number): Promise<string[]> {
  const [{ port, cert }] = (await once(child, 'message')) as [{ port: number; cert: string }]
  const requests = await makeRequests()
  const tls = credentials.createSsl(Buffer.from(cert))
  const clients = Array.from(
    { length: CONNECTIONS },
    () => new Client(`127.0.0.1:${port}`, tls, { 'grpc.use_local_subchannel_pool': 1, 'grpc.ssl_target_name_override': 'localhost' }),
  )
  let [issued, failed, isEnding, next] = [0, 0, false, 0]
  const worker = async (client: Client): Promise<void> => {
    while (!isEnding) {
      const { metadata, bytes } = requests[next++ % requests.length] as (typeof requests)[number]
      const isIssued = await new Promise<boolean>((resolve) => {
        client.makeUnaryRequest(CREATE_CERTIFICATE_PATH, asIs, asIs, bytes, metadata, (error) => resolve(error === null))
      })
      if (isIssued) issued++
      else failed++
    }
  }
  const workers = clients.flatMap((client) => Array.from({ length: AT_ONCE_PER_CONNECTION }, () => worker(client)))
  await delay(WARM_UP_MS)
  const [began, issuedBefore, cpuBefore] = [performance.now(), issued, cpuSeconds([child.pid ?? 0])]
  await delay(seconds * 1000)
  const [count, cpu] = [issued - issuedBefore, cpuSeconds([child.pid ?? 0]) - cpuBefore]
  const row = rowOf('a certificate over gRPC, all checks', count, (performance.now() - began) / 1000, cpu)
  isEnding = true
  await Promise.all(workers)
  for (const client of clients) client.close()
  if (failed > 0) throw new Error(`${failed} requests failed`)
  return row
}

/** Requests of all nodes, for all of their accounts. */
async function makeRequests(): Promise<{ readonly metadata: Metadata; readonly bytes: Buffer }[]> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const requests = []
  for (let i = 0; i < REQUESTS; i++) {
    const node = i % NODES
    const user = {
      namespace: 'weft-system',
      serviceAccount: 'ztunnel',
      podName: `ztunnel-${node}`,
      podUid: `z-${node}`,
      nodeName: `node-${node}`,
    }
    const token = await new SignJWT({ user }).setProtectedHeader({ alg: 'ES256' }).setExpirationTime('2h').sign(privateKey)
    const id = `spiffe://cluster.local/ns/shop/sa/${accountOf(node, i % ACCOUNTS_PER_NODE)}` as SpiffeId
    const { csrPem } = await createCsr({ id })
    const metadata = new Metadata()
    metadata.set('authorization', `Bearer ${token}`)
    const body = { csr: csrPem, validityDuration: 86_400n, metadata: { ImpersonatedIdentity: id } }
    requests.push({ metadata, bytes: encodeMessage(IstioCertificateRequestSchema, body) })
  }
  return requests
}

async function parts(seconds: number): Promise<string[][]> {
  const { authority, material } = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock: systemClock })
  const id = 'spiffe://cluster.local/ns/shop/sa/cart' as SpiffeId
  const { csrPem } = await createCsr({ id })
  const csr = await checkCsr(csrPem)
  if (!csr.ok) throw new Error(csr.errors.join('; '))
  const { publicKey } = csr.value
  const issuer = new x509.X509Certificate(material.certChainPem)
  const signingKey = await keyOf(material.keyPem)
  const byLibrary = (): Promise<unknown> =>
    x509.X509CertificateGenerator.create({
      serialNumber: '41'.repeat(16),
      issuer: issuer.subjectName,
      notBefore: new Date(0),
      notAfter: new Date(86_400_000),
      publicKey: publicKey as Uint8Array<ArrayBuffer>,
      signingKey,
      signingAlgorithm: P256,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
        new x509.SubjectAlternativeNameExtension([{ type: 'url', value: id }], true),
      ],
    })
  return [
    await repeated('check of a request', seconds, () => checkCsr(csrPem)),
    await repeated('leaf from the template', seconds, () => authority.issue({ publicKey, id })),
    await repeated('leaf by @peculiar/x509', seconds, byLibrary),
  ]
}

async function keyOf(pem: string): Promise<webcrypto.CryptoKey> {
  return crypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(pem), P256, false, ['sign'])
}

async function repeated(what: string, seconds: number, run: () => Promise<unknown>): Promise<string[]> {
  for (const end = performance.now() + 500; performance.now() < end; ) await run()
  const [began, cpu] = [performance.now(), process.cpuUsage()]
  let count = 0
  for (; performance.now() - began < seconds * 1000; count++) await run()
  const { user, system } = process.cpuUsage(cpu)
  return rowOf(what, count, (performance.now() - began) / 1000, (user + system) / 1e6)
}

function rowOf(what: string, count: number, seconds: number, cpu: number): string[] {
  return [what, (count / seconds).toFixed(0), (count / cpu).toFixed(0), ((cpu / count) * 1000).toFixed(2)]
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
