// Certificates over time: sharing, order, renewal at half-life, retries that keep what is valid.
import assert from 'node:assert/strict'
import { createLog } from '../../../../kit/log.ts'
import type { Identity } from '../../../../model/identity.ts'
import { spiffeIdOf } from '../../../../model/identity.ts'
import type { CertificateSource, WorkloadCertificate } from '../../../../ztunnel/identity/ca-client.ts'
import { CertificateManager } from '../../../../ztunnel/identity/manager.ts'
import { FakeClock, settle } from '../../../support/fake-clock.ts'

const LIFE_MS = 24 * 3_600_000
const who = (serviceAccount: string): Identity => ({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount })

class FakeCa implements CertificateSource {
  readonly asked: string[] = []
  readonly #clock: FakeClock
  readonly #held: (() => void)[] = []
  isHolding = false
  failure: Error | undefined

  constructor(clock: FakeClock) {
    this.#clock = clock
  }

  async fetch(identity: Identity): Promise<WorkloadCertificate> {
    this.asked.push(identity.serviceAccount)
    if (this.isHolding) await new Promise<void>((resolve) => this.#held.push(resolve))
    if (this.failure !== undefined) throw this.failure
    const now = this.#clock.nowMs()
    const serial = String(this.asked.length)
    return {
      id: spiffeIdOf(identity),
      chainPem: '',
      keyPem: '',
      rootsPem: '',
      notBefore: new Date(now),
      notAfter: new Date(now + LIFE_MS),
      serial,
    }
  }

  release(): void {
    this.isHolding = false
    for (const go of this.#held.splice(0)) go()
  }

  close(): void {
    this.asked.push('closed')
  }
}

function setUp() {
  const clock = new FakeClock()
  const ca = new FakeCa(clock)
  const log = createLog({ process: 'test', levels: 'off' })
  return { clock, ca, manager: new CertificateManager({ caClient: ca, clock, log, random: () => 0.5 }) }
}

describe('ztunnel/identity/manager', () => {
  it('shares one fetch among all who ask, and holds the result', async () => {
    const { ca, manager } = setUp()
    const [a, b] = await Promise.all([manager.get(who('a'), 'realtime'), manager.get(who('a'), 'warmup')])
    assert.equal(a, b)
    assert.equal(await manager.get(who('a'), 'realtime'), a)
    assert.deepEqual(ca.asked, ['a'])
  })

  it('fetches eight at once, and connections before pods that were only announced', async () => {
    const { ca, manager } = setUp()
    ca.isHolding = true
    const all = Array.from({ length: 9 }, (_, i) => manager.get(who(`w${i}`), 'warmup'))
    const urgent = manager.get(who('urgent'), 'realtime')
    await settle()
    assert.equal(ca.asked.length, 8)
    ca.release()
    await Promise.all([...all, urgent])
    assert.equal(ca.asked[8], 'urgent')
  })

  it('renews at half of the life and tells', async () => {
    const { clock, ca, manager } = setUp()
    const told: string[] = []
    manager.onRenewed((certificate) => told.push(certificate.serial))
    await manager.get(who('a'), 'realtime')
    await clock.advance(LIFE_MS / 2 - 1)
    assert.deepEqual(ca.asked, ['a'])
    await clock.advance(1)
    assert.deepEqual(told, ['1', '2'])
  })

  it('keeps a valid certificate while renewal fails, with doubling waits', async () => {
    const { clock, ca, manager } = setUp()
    const first = await manager.get(who('a'), 'realtime')
    ca.failure = new Error('the CA is away')
    await clock.advance(LIFE_MS / 2)
    assert.equal(ca.asked.length, 2)
    await clock.advance(500)
    assert.equal(ca.asked.length, 3)
    await clock.advance(1000)
    assert.equal(ca.asked.length, 4)
    assert.equal(await manager.get(who('a'), 'realtime'), first)
    assert.equal(manager.list()[0]?.error, ca.failure)
    await clock.advance(LIFE_MS / 2)
    await assert.rejects(manager.get(who('a'), 'realtime'), /the CA is away/)
  })

  it('lets a connection try at once although a retry is due later', async () => {
    const { ca, manager } = setUp()
    ca.failure = new Error('no')
    await assert.rejects(manager.get(who('a'), 'realtime'))
    ca.failure = undefined
    assert.equal((await manager.get(who('a'), 'realtime')).serial, '2')
  })

  it('forgets: no renewal, no certificate, waiters are told', async () => {
    const { clock, ca, manager } = setUp()
    ca.isHolding = true
    const waiting = manager.get(who('a'), 'realtime')
    manager.forget(who('a'))
    await assert.rejects(waiting, (error: { code?: string }) => error.code === 'CERTIFICATE_REFUSED')
    ca.release()
    await clock.advance(LIFE_MS)
    assert.deepEqual(ca.asked, ['a'])
    assert.deepEqual(manager.list(), [])
  })
})
