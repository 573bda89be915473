// Policies of a service or of its waypoint, before anything else is done with a request.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import type { HttpPolicy, HttpPolicyMatch } from '../../../../model/http-policy.ts'
import { EMPTY_MATCH } from '../../../../model/policy.ts'
import { openTcp } from '../../../../waypoint/tcp.ts'
import { ip, workloadOf } from '../../../support/mesh-values.ts'
import { turns, WaypointLab } from '../../../support/waypoint-lab.ts'

const NOTHING: HttpPolicyMatch = {
  connection: EMPTY_MATCH,
  hosts: [],
  notHosts: [],
  methods: [],
  notMethods: [],
  paths: [],
  notPaths: [],
  headers: [],
}
const policy = (action: HttpPolicy['action'], match: Partial<HttpPolicyMatch>, isGatewayWide = false): HttpPolicy => ({
  name: 'shop/p',
  action,
  rules: [[[{ ...NOTHING, ...match }]]],
  isGatewayWide,
})
const GET = { methods: [{ kind: 'exact', value: 'GET' }] } as const
const POD = workloadOf('reviews-1', ['10.0.1.1'], { waypoint: undefined })

async function asked(policies: readonly HttpPolicy[], change: object = {}, isDirect = false): Promise<string> {
  const lab = new WaypointLab({ listener: { authorization: policies } })
  const target = isDirect
    ? ({ kind: 'workload', workload: POD, to: { ip: ip('10.0.1.1'), port: 8080 }, service: undefined } as const)
    : undefined
  const exchange = await lab.request(change, undefined, {}, target)
  await turns()
  return `${exchange.status ?? 'nothing'} ${lab.upstream.length}`
}

describe('waypoint/exchange: policies', () => {
  const rows: readonly (readonly [name: string, policies: readonly HttpPolicy[], change: object, want: string])[] = [
    ['none', [], {}, '200 1'],
    ['an ALLOW that matches', [policy('ALLOW', GET)], {}, '200 1'],
    ['an ALLOW that does not', [policy('ALLOW', GET)], { method: 'PUT' }, '403 0'],
    ['a DENY that matches', [policy('DENY', GET)], {}, '403 0'],
    ['a DENY that does not', [policy('DENY', GET)], { method: 'PUT' }, '200 1'],
    ['the service’s port', [policy('DENY', { connection: { ...EMPTY_MATCH, destinationPorts: [80] } })], {}, '403 0'],
  ]
  for (const [name, policies, change, want] of rows) {
    it(name, async () => assert.equal(await asked(policies, change), want))
  }

  it('of the waypoint as a whole: also what is sent to a pod’s address', async () => {
    assert.equal(await asked([policy('DENY', GET)], {}, true), '200 1')
    assert.equal(await asked([policy('DENY', GET, true)], {}, true), '403 0')
  })

  it('what is no HTTP', async () => {
    const open = (policies: readonly HttpPolicy[]): Promise<unknown> => {
      const lab = new WaypointLab({ listener: { authorization: policies } })
      return openTcp(lab.downstream(), lab.context)
    }
    await assert.rejects(open([policy('ALLOW', GET)]), { code: 'POLICY_DENIED' })
    await assert.rejects(open([policy('DENY', GET)]), { code: 'POLICY_DENIED' })
    // No dialler in the lab: what is let through gets as far as that.
    await assert.rejects(
      open([policy('DENY', { ...GET, connection: { ...EMPTY_MATCH, destinationPorts: [81] } })]),
      (error: { code?: string }) => error.code !== 'POLICY_DENIED',
    )
  })
})
