// Certificates over time: sharing, order, renewal at half-life, retries that keep what is valid.
import assert from 'node:assert/strict'
import { createLog } from '../../../kit/log.ts'
import type { Identity } from '../../../model/identity.ts'
import { spiffeIdOf } from '../../../model/identity.ts'
import type { CertificateSource, WorkloadCertificate } from '../../../identity/ca-client.ts'
import { CertificateManager } from '../../../identity/manager.ts'
import { FakeClock, settle } from '../../support/fake-clock.ts'

const LIFE_MS = 24 * 3_600_000
const who = (serviceAccount: string): Identity => ({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount })

class FakeCa implements CertificateSource {
  readonly asked: string[] = []
  readonly #clock: FakeClock
  readonly #held: (() => void)[] = []
  isHolding = false
  failure: Error | undefined
  lifeMs = LIFE_MS

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
      notAfter: new Date(now + this.lifeMs),
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

describe('identity/manager', () => {
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

  it('cuts a long back-off short for a connection, but asks no faster than every half second', async () => {
    const { clock, ca, manager } = setUp()
    ca.failure = new Error('no')
    await assert.rejects(manager.get(who('a'), 'realtime'))
    const again = manager.get(who('a'), 'realtime').catch((error: Error) => error.message)
    await clock.advance(499)
    assert.equal(ca.asked.length, 1)
    await clock.advance(1)
    assert.equal(await again, 'no')
    await clock.advance(60_000) // tries at 1, 3, 7, 15, 31 s: the next is due 3 s later or more
    const asked = ca.asked.length
    ca.failure = undefined
    assert.equal((await manager.get(who('a'), 'realtime')).serial, String(asked + 1))
  })

  it('does not cut the back-off short for those who only warm up', async () => {
    const { clock, ca, manager } = setUp()
    ca.failure = new Error('no')
    await assert.rejects(manager.get(who('a'), 'warmup'))
    await clock.advance(10_000)
    const asked = ca.asked.length
    void manager.get(who('a'), 'warmup').catch(() => undefined)
    await clock.advance(1000)
    assert.equal(ca.asked.length, asked)
  })

  it('waits up to 150 s between tries, spread by a fifth', async () => {
    for (const random of [0, 0.5, 0.999]) {
      const clock = new FakeClock()
      const ca = new FakeCa(clock)
      ca.failure = new Error('no')
      const manager = new CertificateManager({
        caClient: ca,
        clock,
        log: createLog({ process: 'test', levels: 'off' }),
        random: () => random,
      })
      await assert.rejects(manager.get(who('a'), 'warmup'))
      const gaps: number[] = []
      for (let at = clock.nowMs(), seen = 1; gaps.length < 12; ) {
        await clock.advance(50)
        if (ca.asked.length === seen) continue
        gaps.push(clock.nowMs() - at)
        ;[at, seen] = [clock.nowMs(), ca.asked.length]
      }
      const factor = 0.8 + 0.4 * random
      for (const [i, gap] of gaps.entries())
        assert.ok(Math.abs(gap - Math.min(150_000, 500 * 2 ** i) * factor) <= 100, `try ${i}: ${gap} ms`)
      manager.close()
    }
  }).timeout(10_000)

  it('does not ask in a loop when certificates have no life', async () => {
    const { clock, ca, manager } = setUp()
    ca.lifeMs = 0
    await manager.get(who('a'), 'realtime')
    await clock.advance(10_000)
    assert.equal(ca.asked.length, 11)
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
