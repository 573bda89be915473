// PeerAdmission over real TLS handshakes: who is let in, who is refused, and with which code.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type net from 'node:net'
import tls from 'node:tls'
import { parseBundle } from '../../../certs/bundle.ts'
import { CertificateAuthority } from '../../../certs/ca.ts'
import { checkCsr, createCsr } from '../../../certs/csr.ts'
import { PeerAdmission } from '../../../certs/peer.ts'
import type { Admission, ExpectedPeer } from '../../../certs/peer.ts'
import { systemClock } from '../../../kit/clock.ts'
import { spiffeIdOf } from '../../../model/identity.ts'
import type { SpiffeId } from '../../../model/identity.ts'

interface Credentials {
  readonly cert: string
  readonly key: string
}

const SERVER = spiffeIdOf({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'server' })
const CLIENT = spiffeIdOf({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'client' })

async function credentials(ca: CertificateAuthority, id: SpiffeId): Promise<Credentials> {
  const { csrPem, keyPem } = await createCsr({ id })
  const csr = await checkCsr(csrPem)
  assert.ok(csr.ok)
  const issued = await ca.issue({ publicKey: csr.value.publicKey, subject: { kind: 'workload', id } })
  return { cert: issued.chainPem.join(''), key: keyPem }
}

async function handshake(
  ca: CertificateAuthority,
  server: Credentials,
  client: Credentials | undefined,
  expected: ExpectedPeer,
): Promise<Admission> {
  const bundle = parseBundle(ca.rootsPem, 'cluster.local')
  assert.ok(bundle.ok)
  const admission = new PeerAdmission({ bundle: () => bundle.value, clock: systemClock })
  const listener = tls.createServer({
    ...server,
    ca: bundle.value.pem(),
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as net.AddressInfo
  const socket = tls.connect({ host: '127.0.0.1', port, ...client, rejectUnauthorized: false, minVersion: 'TLSv1.3' })
  socket.on('error', () => undefined)
  const [accepted] = (await once(listener, 'secureConnection')) as [tls.TLSSocket]
  const verdict = admission.admit(accepted, expected)
  socket.destroy()
  accepted.destroy()
  listener.close()
  return verdict
}

describe('certs/peer', () => {
  it('admits a peer of the same CA and names its identity', async () => {
    const ca = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock: systemClock })
    const verdict = await handshake(ca, await credentials(ca, SERVER), await credentials(ca, CLIENT), { trustDomain: 'cluster.local' })
    assert.ok(verdict.ok, JSON.stringify(verdict))
    assert.equal(verdict.value.id, CLIENT)
    assert.equal(verdict.value.namespace, 'shop')
  })

  it('refuses a peer without certificate', async () => {
    const ca = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock: systemClock })
    const verdict = await handshake(ca, await credentials(ca, SERVER), undefined, {})
    assert.equal(verdict.ok ? 'ok' : verdict.code, 'NO_CERTIFICATE')
  })

  it('refuses a certificate of another CA, although it names the same domain', async () => {
    const ca = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock: systemClock })
    const other = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock: systemClock })
    const verdict = await handshake(ca, await credentials(ca, SERVER), await credentials(other, CLIENT), {})
    assert.equal(verdict.ok ? 'ok' : verdict.code, 'UNTRUSTED')
  })

  it('refuses an ID whose domain is not that of the root', async () => {
    const ca = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock: systemClock })
    const foreign = spiffeIdOf({ trustDomain: 'other.example', namespace: 'shop', serviceAccount: 'client' })
    const verdict = await handshake(ca, await credentials(ca, SERVER), await credentials(ca, foreign), {})
    assert.equal(verdict.ok ? 'ok' : verdict.code, 'UNTRUSTED')
  })

  it('refuses an identity that was not expected', async () => {
    const ca = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock: systemClock })
    const verdict = await handshake(ca, await credentials(ca, SERVER), await credentials(ca, CLIENT), { ids: [SERVER] })
    assert.equal(verdict.ok ? 'ok' : verdict.code, 'UNEXPECTED_IDENTITY')
  })

  it('refuses an expired certificate by the clock of this process', async () => {
    const past = { ...systemClock, nowMs: () => Date.now() - 48 * 3_600_000 }
    const ca = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock: past })
    const verdict = await handshake(ca, await credentials(ca, SERVER), await credentials(ca, CLIENT), {})
    assert.equal(verdict.ok ? 'ok' : verdict.code, 'EXPIRED')
  })
})
