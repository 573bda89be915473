// Policies behind a waypoint: for the original client, with the waypoint beside it.
import assert from 'node:assert/strict'
import type { Identity } from '../../../../model/identity.ts'
import type { Authorization, PolicyAction, PolicyMatch } from '../../../../model/policy.ts'
import { EMPTY_MATCH } from '../../../../model/policy.ts'
import { authorize } from '../../../../policy/http/authorize.ts'
import { ip } from '../../../support/mesh-values.ts'

const WAYPOINT: Identity = { trustDomain: 'td', namespace: 'shop', serviceAccount: 'waypoint' }
const CLIENT: Identity = { trustDomain: 'td', namespace: 'web', serviceAccount: 'client' }
const exact = (name: string) => [{ kind: 'exact' as const, value: `td/ns/${name}` }]
const policy = (action: PolicyAction, match: Partial<PolicyMatch>): Authorization => ({
  name: 'p',
  namespace: 'shop',
  scope: 'NAMESPACE',
  action,
  rules: [[[{ ...EMPTY_MATCH, ...match }]]],
  isDryRun: false,
})

const CASES: readonly {
  readonly name: string
  readonly given: readonly [Authorization[], (Identity | undefined)?]
  readonly want: boolean
}[] = [
  { name: 'no policy', given: [[]], want: true },
  { name: 'only the client', given: [[policy('ALLOW', { principals: exact('web/sa/client') })], CLIENT], want: true },
  { name: 'only another client', given: [[policy('ALLOW', { principals: exact('web/sa/other') })], CLIENT], want: false },
  { name: 'only the waypoint', given: [[policy('ALLOW', { principals: exact('shop/sa/waypoint') })], CLIENT], want: true },
  { name: 'not the client', given: [[policy('DENY', { principals: exact('web/sa/client') })], CLIENT], want: false },
  { name: 'not the waypoint', given: [[policy('DENY', { principals: exact('shop/sa/waypoint') })], CLIENT], want: false },
  {
    name: "only the waypoint's namespace is about clients",
    given: [[policy('ALLOW', { namespaces: [{ kind: 'exact', value: 'shop' }] })], CLIENT],
    want: false,
  },
  { name: 'all but the client', given: [[policy('DENY', { notPrincipals: exact('web/sa/client') })], CLIENT], want: true },
  { name: 'all but another client', given: [[policy('DENY', { notPrincipals: exact('web/sa/other') })], CLIENT], want: false },
  { name: 'a client without identity', given: [[policy('ALLOW', { principals: exact('web/sa/client') })], undefined], want: false },
  { name: "the endpoint's port", given: [[policy('ALLOW', { destinationPorts: [9080] })], CLIENT], want: true },
  { name: 'another port', given: [[policy('ALLOW', { destinationPorts: [80] })], CLIENT], want: false },
]

describe('authorize', () => {
  for (const row of CASES) {
    it(row.name, () => {
      const [policies, source] = row.given
      const connection = { source, sourceIp: ip('10.0.1.2'), destinationIp: ip('10.0.2.3'), destinationPort: 9080 }
      assert.equal(authorize(policies, connection, WAYPOINT).isAllowed, row.want)
    })
  }
})
