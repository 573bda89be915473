// What is said of Istio's objects and of rate limits, as it is written into their status.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { SOLE_LEADER } from '../../../../../controlplane/leader/leader.ts'
import { worldOf } from '../../../../../controlplane/push/world.ts'
import { patchTarget } from '../../../../../controlplane/status/target.ts'
import { StatusWriter } from '../../../../../controlplane/status/writer.ts'
import { verdictOf } from '../../../../../controlplane/translate/istio/outcomes.ts'
import { Translator } from '../../../../../controlplane/translate/translate.ts'
import { FakeClock } from '../../../../support/fake-clock.ts'
import { FakeSource, NAMES } from '../../../../support/fake-source.ts'
import { destinationRule, rateLimitPolicy, to, virtualService } from '../../../../support/istio-world.ts'
import { SHOP } from '../../../../support/route-world.ts'
import { keptLog } from '../../../../support/xds-pair.ts'

const NOTHING = { ignored: [], dropped: [], broken: [], unresolved: [], others: [] }

describe('controlplane/translate/istio/outcomes', () => {
  it('says it all in one condition of bounded length', () => {
    assert.deepEqual(verdictOf('T', NOTHING), { type: 'T', status: 'True', reason: 'Accepted', message: 'in force' })
    const finding = verdictOf('T', {
      ...NOTHING,
      dropped: ['a: x'],
      broken: ['b: y'],
      unresolved: Array.from({ length: 9 }, () => 'z'.repeat(999)),
    })
    assert.deepEqual([finding.status, finding.reason], ['True', 'PartiallyInvalid'])
    assert.match(finding.message, /^not in force: a: x\. answered 500: b: y\. requests to them are answered 500: z+…/)
    assert.ok(finding.message.length <= 1024)
  })

  it('is written once, and again when it changes', async () => {
    const source = new FakeSource()
    const translator = new Translator(NAMES)
    const writer = new StatusWriter({
      source,
      target: patchTarget(source),
      leader: SOLE_LEADER,
      log: keptLog().log,
      clock: new FakeClock(),
    })
    const run = async (): Promise<void> => {
      const translation = translator.translate(worldOf(source, new Set()))
      const programmed = { programmed: new Set<string>(), refusals: new Map<string, string>() }
      writer.report({ translation, faults: [], programmed, deployFaults: [] })
      await new Promise((resolve) => setImmediate(resolve))
    }
    const written = (): string[] =>
      source.patches
        .splice(0)
        .filter(({ name }) => ['vs', 'dr', 'rl'].includes(name))
        .flatMap(({ kind, status }) => status.conditions.map(({ type, reason }) => `${kind} ${type} ${reason}`))
        .sort()
    source.apply(...SHOP, virtualService([{ route: [to('cart')] }]), destinationRule({ host: 'none' }))
    source.apply(rateLimitPolicy({ targetRefs: [{ kind: 'Service', name: 'cart' }] }))
    await run()
    assert.deepEqual(written(), [
      'destinationrules weft.dev/Accepted HostNotFound',
      'ratelimitpolicies Accepted Accepted',
      'virtualservices weft.dev/Accepted Accepted',
    ])
    await run()
    assert.deepEqual(written(), [])
    source.apply(virtualService([{ route: [to('cart')] }], {}, { tcp: [{}] }))
    await run()
    assert.deepEqual(written(), ['virtualservices weft.dev/Accepted PartiallyInvalid'])
  })
})
