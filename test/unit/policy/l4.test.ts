// L4 authorization: the order, the table of corners and every field, then a slow evaluator written from the rules' words
// alone, with which thousands of generated policies must agree.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { cidrContains, parseCidr } from '../../../model/address.ts'
import type { Cidr } from '../../../model/address.ts'
import type { Identity } from '../../../model/identity.ts'
import { EMPTY_MATCH } from '../../../model/policy.ts'
import type { Authorization, PolicyConnection, PolicyMatch, PolicyVerdict, StringMatch } from '../../../model/policy.ts'
import { decide, decideWithDryRun, explain } from '../../../policy/l4.ts'
import { ip } from '../../support/mesh-values.ts'

type Rules = Authorization['rules']

const match = (change: Partial<PolicyMatch>): PolicyMatch => ({ ...EMPTY_MATCH, ...change })
/** One rule of one clause of one match. */
const only = (change: Partial<PolicyMatch>): Rules => [[[match(change)]]]
const exact = (value: string): StringMatch => ({ kind: 'exact', value })
const prefix = (value: string): StringMatch => ({ kind: 'prefix', value })
const suffix = (value: string): StringMatch => ({ kind: 'suffix', value })
const PRESENCE: StringMatch = { kind: 'presence' }
const block = (text: string): Cidr => {
  const cidr = parseCidr(text)
  assert.ok(cidr, text)
  return cidr
}

function policy(name: string, action: 'ALLOW' | 'DENY', rules: Rules, isDryRun = false): Authorization {
  return { name, namespace: 'shop', scope: 'NAMESPACE', action, rules, isDryRun }
}

const CLIENT: Identity = { trustDomain: 'td', namespace: 'web', serviceAccount: 'client' }
const FROM_CLIENT: PolicyConnection = { source: CLIENT, sourceIp: ip('10.0.1.2'), destinationIp: ip('10.0.2.3'), destinationPort: 8080 }
const PLAIN: PolicyConnection = { ...FROM_CLIENT, source: undefined }
const OVER_IPV6: PolicyConnection = { ...FROM_CLIENT, sourceIp: ip('fd00::1:2'), destinationIp: ip('fd00::2:3') }
const PORT: Partial<PolicyMatch> = { destinationPorts: [8080] }
const NO: Partial<PolicyMatch> = { destinationPorts: [1] }
const EMPTY = {}

/** name, rules, does it match: identity of td/ns/web/sa/client · plaintext · the same over IPv6 */
const MATCHING: readonly (readonly [string, Rules, boolean, boolean, boolean])[] = [
  // structure
  ['no rules', [], false, false, false],
  ['a rule without clauses', [[]], true, true, true],
  ['a clause without matches', [[[]]], true, true, true],
  ['a match with all fields empty', only(EMPTY), false, false, false],
  ['two empty matches', [[[match(EMPTY), match(EMPTY)]]], false, false, false],
  ['an empty match is skipped beside one that matches', [[[match(EMPTY), match(PORT)]]], true, true, true],
  ['an empty match is skipped beside one that does not', [[[match(EMPTY), match(NO)]]], false, false, false],
  ['matches OR: second', [[[match(NO), match(PORT)]]], true, true, true],
  ['matches OR: none', [[[match(NO), match(NO)]]], false, false, false],
  ['clauses AND: both', [[[match(PORT)], [match({ destinationIps: [block('10.0.2.0/24'), block('fd00::/16')] })]]], true, true, true],
  ['clauses AND: one', [[[match(PORT)], [match(NO)]]], false, false, false],
  ['clauses AND: a clause without matches does not harm', [[[match(PORT)], []]], true, true, true],
  ['clauses AND: a clause of empty matches does', [[[match(PORT)], [match(EMPTY)]]], false, false, false],
  ['rules OR: second', [[[match(NO)]], [[match(PORT)]]], true, true, true],
  ['rules OR: an empty rule', [[[match(NO)]], []], true, true, true],
  ['rules OR: none', [[[match(NO)]], [[match(NO)]]], false, false, false],
  ['fields AND: both', only({ ...PORT, namespaces: [exact('web')] }), true, false, true],
  ['fields AND: one', only({ ...PORT, namespaces: [exact('other')] }), false, false, false],
  // ports
  ['port', only({ destinationPorts: [8080] }), true, true, true],
  ['ports OR', only({ destinationPorts: [80, 8080] }), true, true, true],
  ['other port', only({ destinationPorts: [80] }), false, false, false],
  ['port 0 is no wildcard', only({ destinationPorts: [0] }), false, false, false],
  ['not port', only({ notDestinationPorts: [8080] }), false, false, false],
  ['not other port', only({ notDestinationPorts: [80] }), true, true, true],
  ['port and not the same port', only({ destinationPorts: [8080], notDestinationPorts: [8080] }), false, false, false],
  ['not ports: one of them', only({ notDestinationPorts: [80, 8080] }), false, false, false],
  // namespaces
  ['namespace exact', only({ namespaces: [exact('web')] }), true, false, true],
  ['namespace other', only({ namespaces: [exact('we')] }), false, false, false],
  ['namespace case', only({ namespaces: [exact('Web')] }), false, false, false],
  ['namespace prefix', only({ namespaces: [prefix('we')] }), true, false, true],
  ['namespace prefix of whole', only({ namespaces: [prefix('web')] }), true, false, true],
  ['namespace prefix longer', only({ namespaces: [prefix('webs')] }), false, false, false],
  ['namespace suffix', only({ namespaces: [suffix('eb')] }), true, false, true],
  ['namespace suffix other', only({ namespaces: [suffix('we')] }), false, false, false],
  ['namespace presence', only({ namespaces: [PRESENCE] }), true, false, true],
  ['namespace empty prefix', only({ namespaces: [prefix('')] }), true, false, true],
  ['namespace empty suffix', only({ namespaces: [suffix('')] }), true, false, true],
  ['namespace empty exact', only({ namespaces: [exact('')] }), false, false, false],
  ['namespaces OR', only({ namespaces: [exact('a'), suffix('b')] }), true, false, true],
  ['not namespace', only({ notNamespaces: [exact('web')] }), false, true, false],
  ['not other namespace', only({ notNamespaces: [exact('other')] }), true, true, true],
  ['not namespace presence', only({ notNamespaces: [PRESENCE] }), false, true, false],
  ['not namespace prefix', only({ notNamespaces: [prefix('w')] }), false, true, false],
  ['not namespaces: one of them', only({ notNamespaces: [exact('x'), exact('web')] }), false, true, false],
  ['namespace and not namespace', only({ namespaces: [prefix('w')], notNamespaces: [exact('web')] }), false, false, false],
  // principals
  ['principal exact', only({ principals: [exact('td/ns/web/sa/client')] }), true, false, true],
  ['principal with scheme', only({ principals: [exact('spiffe://td/ns/web/sa/client')] }), false, false, false],
  ['principal other account', only({ principals: [exact('td/ns/web/sa/clien')] }), false, false, false],
  ['principal other trust domain', only({ principals: [exact('cluster.local/ns/web/sa/client')] }), false, false, false],
  ['principal case', only({ principals: [exact('TD/ns/web/sa/client')] }), false, false, false],
  ['principal prefix', only({ principals: [prefix('td/ns/web/')] }), true, false, true],
  ['principal prefix of another namespace', only({ principals: [prefix('td/ns/we/')] }), false, false, false],
  ['principal suffix', only({ principals: [suffix('/sa/client')] }), true, false, true],
  ['principal suffix in the middle', only({ principals: [suffix('/sa/')] }), false, false, false],
  ['principal presence', only({ principals: [PRESENCE] }), true, false, true],
  ['principal empty exact', only({ principals: [exact('')] }), false, false, false],
  ['not principal', only({ notPrincipals: [exact('td/ns/web/sa/client')] }), false, true, false],
  ['not principal presence (STRICT)', only({ notPrincipals: [PRESENCE] }), false, true, false],
  ['not other principal', only({ notPrincipals: [exact('td/ns/web/sa/other')] }), true, true, true],
  ['not principal prefix', only({ notPrincipals: [prefix('td/')] }), false, true, false],
  ['principal and not its suffix', only({ principals: [prefix('td/')], notPrincipals: [suffix('/client')] }), false, false, false],
  // service accounts
  ['account', only({ serviceAccounts: [{ namespace: 'web', serviceAccount: 'client' }] }), true, false, true],
  ['account of another namespace', only({ serviceAccounts: [{ namespace: 'shop', serviceAccount: 'client' }] }), false, false, false],
  ['other account', only({ serviceAccounts: [{ namespace: 'web', serviceAccount: 'server' }] }), false, false, false],
  [
    'account in pieces of two entries',
    only({
      serviceAccounts: [
        { namespace: 'web', serviceAccount: 'x' },
        { namespace: 'x', serviceAccount: 'client' },
      ],
    }),
    false,
    false,
    false,
  ],
  ['empty account', only({ serviceAccounts: [{ namespace: '', serviceAccount: '' }] }), false, false, false],
  ['not account', only({ notServiceAccounts: [{ namespace: 'web', serviceAccount: 'client' }] }), false, true, false],
  ['not other account', only({ notServiceAccounts: [{ namespace: 'web', serviceAccount: 'x' }] }), true, true, true],
  // source addresses
  ['source block', only({ sourceIps: [block('10.0.1.0/24')] }), true, true, false],
  ['source address', only({ sourceIps: [block('10.0.1.2')] }), true, true, false],
  ['source other block', only({ sourceIps: [block('10.0.2.0/24')] }), false, false, false],
  ['source /23 holds it', only({ sourceIps: [block('10.0.0.0/23')] }), true, true, false],
  ['source /25 does not hold .2 of the upper half', only({ sourceIps: [block('10.0.1.128/25')] }), false, false, false],
  ['source host bits in the block', only({ sourceIps: [block('10.0.1.77/24')] }), true, true, false],
  ['source 0.0.0.0/0 is IPv4', only({ sourceIps: [block('0.0.0.0/0')] }), true, true, false],
  ['source ::/0 is IPv6', only({ sourceIps: [block('::/0')] }), false, false, true],
  ['source IPv6 block', only({ sourceIps: [block('fd00::/64')] }), false, false, true],
  ['source IPv6 /127', only({ sourceIps: [block('fd00::1:3/127')] }), false, false, true],
  ['source blocks OR', only({ sourceIps: [block('1.2.3.4'), block('10.0.0.0/8'), block('fd00::/8')] }), true, true, true],
  ['not source', only({ notSourceIps: [block('10.0.1.2')] }), false, false, true],
  ['not other source', only({ notSourceIps: [block('10.9.0.0/16')] }), true, true, true],
  ['source without a hole', only({ sourceIps: [block('10.0.0.0/8')], notSourceIps: [block('10.0.1.0/24')] }), false, false, false],
  // destination addresses
  ['destination block', only({ destinationIps: [block('10.0.2.0/24')] }), true, true, false],
  ['destination is not the source', only({ destinationIps: [block('10.0.1.2')] }), false, false, false],
  ['destination IPv6', only({ destinationIps: [block('fd00::2:3')] }), false, false, true],
  ['not destination', only({ notDestinationIps: [block('10.0.2.3')] }), false, false, true],
  ['not other destination', only({ notDestinationIps: [block('10.0.2.4')] }), true, true, true],
  // PeerAuthentication as istiod converts it
  [
    'STRICT with a PERMISSIVE port',
    [[[match({ notPrincipals: [PRESENCE] })], [match({ notDestinationPorts: [8080] })]]],
    false,
    false,
    false,
  ],
  ['STRICT but for another port', [[[match({ notPrincipals: [PRESENCE] })], [match({ notDestinationPorts: [9090] })]]], false, true, false],
  ['PERMISSIVE with a STRICT port', only({ notPrincipals: [PRESENCE], destinationPorts: [8080] }), false, true, false],
]

const WAYPOINT: Identity = { trustDomain: 'td', namespace: 'shop', serviceAccount: 'way' }
const THROUGH: PolicyConnection = { ...FROM_CLIENT, via: WAYPOINT }
const account = (namespace: string, serviceAccount: string) => ({ namespace, serviceAccount })
const C = 'td/ns/web/sa/client'
const W = 'td/ns/shop/sa/way'
/** name, rules, matches as DENY, matches as ALLOW: the client td/ns/web/sa/client through the waypoint td/ns/shop/sa/way */
const WAYPOINTS: readonly (readonly [string, Rules, boolean, boolean])[] = [
  ['principal: the client', only({ principals: [exact(C)] }), true, true],
  ['principal: the waypoint', only({ principals: [exact(W)] }), true, true],
  ['principal: somebody else', only({ principals: [exact('td/ns/web/sa/other')] }), false, false],
  ['principal: a pattern of the client', only({ principals: [prefix('td/ns/web/')] }), true, true],
  ['principal: a pattern of the waypoint allows nobody', only({ principals: [prefix('td/ns/shop/')] }), true, false],
  ['principal: anybody known', only({ principals: [PRESENCE] }), true, true],
  ['not principal: the client', only({ notPrincipals: [exact(C)] }), false, false],
  ['not principal: the waypoint', only({ notPrincipals: [exact(W)] }), false, false],
  ['not principal: a pattern of the waypoint excepts nobody', only({ notPrincipals: [prefix('td/ns/shop/')] }), true, false],
  ['not principal: somebody else', only({ notPrincipals: [exact('td/ns/web/sa/other')] }), true, true],
  ['STRICT', only({ notPrincipals: [PRESENCE] }), false, false],
  ["namespace: the client's", only({ namespaces: [exact('web')] }), true, true],
  ["namespace: the waypoint's", only({ namespaces: [exact('shop')] }), false, false],
  ["not namespace: the client's", only({ notNamespaces: [exact('web')] }), false, false],
  ["not namespace: the waypoint's", only({ notNamespaces: [exact('shop')] }), true, true],
  ['account: the client', only({ serviceAccounts: [account('web', 'client')] }), true, true],
  ['account: the waypoint', only({ serviceAccounts: [account('shop', 'way')] }), true, true],
  ['account: parts of both', only({ serviceAccounts: [account('shop', 'client')] }), false, false],
  ['not account: the client', only({ notServiceAccounts: [account('web', 'client')] }), false, false],
  ['not account: the waypoint', only({ notServiceAccounts: [account('shop', 'way')] }), false, false],
  ['not account: somebody else', only({ notServiceAccounts: [account('web', 'other')] }), true, true],
  ['principal and account of one', only({ principals: [exact(W)], serviceAccounts: [account('shop', 'way')] }), true, true],
  ['principal of one and account of the other', only({ principals: [exact(C)], serviceAccounts: [account('shop', 'way')] }), false, false],
  ["the client's namespace, the waypoint's principal", only({ namespaces: [exact('web')], principals: [exact(W)] }), true, true],
  [
    'clauses for one of them each',
    [[[match({ principals: [exact(C)] })], [match({ serviceAccounts: [account('shop', 'way')] })]]],
    false,
    false,
  ],
  ['the waypoint, but not this client', only({ principals: [exact(W)], notPrincipals: [exact(C)] }), false, false],
  ['the waypoint on another port', only({ principals: [exact(W)], ...NO }), false, false],
  ['the second rule is for the waypoint', [...only(NO), ...only({ principals: [exact(W)] })], true, true],
]

const A = only(PORT)
const N = only(NO)
/** name, policies, verdict */
const ORDER: readonly (readonly [string, readonly Authorization[], PolicyVerdict])[] = [
  ['no policy', [], { isAllowed: true, by: undefined }],
  ['an ALLOW that matches', [policy('a', 'ALLOW', A)], { isAllowed: true, by: 'shop/a' }],
  ['an ALLOW that does not', [policy('a', 'ALLOW', N)], { isAllowed: false, reason: 'NOT_ALLOWED', by: undefined }],
  ['an ALLOW without rules', [policy('a', 'ALLOW', [])], { isAllowed: false, reason: 'NOT_ALLOWED', by: undefined }],
  ['a DENY that matches', [policy('d', 'DENY', A)], { isAllowed: false, reason: 'DENIED_BY', by: 'shop/d' }],
  ['a DENY that does not', [policy('d', 'DENY', N)], { isAllowed: true, by: undefined }],
  ['a DENY without rules', [policy('d', 'DENY', [])], { isAllowed: true, by: undefined }],
  [
    'DENY before ALLOW, whatever the order',
    [policy('a', 'ALLOW', A), policy('d', 'DENY', A)],
    { isAllowed: false, reason: 'DENIED_BY', by: 'shop/d' },
  ],
  ['a DENY that does not match leaves the ALLOW', [policy('d', 'DENY', N), policy('a', 'ALLOW', A)], { isAllowed: true, by: 'shop/a' }],
  ['the second ALLOW', [policy('a', 'ALLOW', N), policy('b', 'ALLOW', A)], { isAllowed: true, by: 'shop/b' }],
  ['the first DENY is named', [policy('d', 'DENY', A), policy('e', 'DENY', A)], { isAllowed: false, reason: 'DENIED_BY', by: 'shop/d' }],
  ['a dry-run DENY does nothing', [policy('d', 'DENY', A, true)], { isAllowed: true, by: undefined }],
  ['a dry-run ALLOW does not deny', [policy('a', 'ALLOW', N, true)], { isAllowed: true, by: undefined }],
  [
    'a dry-run ALLOW does not allow',
    [policy('a', 'ALLOW', A, true), policy('b', 'ALLOW', N)],
    { isAllowed: false, reason: 'NOT_ALLOWED', by: undefined },
  ],
  ['a dry-run DENY beside an enforced ALLOW', [policy('d', 'DENY', A, true), policy('a', 'ALLOW', A)], { isAllowed: true, by: 'shop/a' }],
]

describe('policy/l4', () => {
  it('has no row twice', () => {
    for (const names of [MATCHING, WAYPOINTS, ORDER].map((rows) => rows.map(([name]) => name)))
      assert.equal(new Set(names).size, names.length)
  })

  for (const [name, rules, ...wanted] of MATCHING) {
    it(`matches: ${name}`, () => {
      for (const [at, connection] of [FROM_CLIENT, PLAIN, OVER_IPV6].entries()) {
        const isDenied = !decide([policy('p', 'DENY', rules)], connection).isAllowed
        const isAllowed = decide([policy('p', 'ALLOW', rules)], connection).isAllowed
        assert.deepEqual([isDenied, isAllowed], [wanted[at], wanted[at]], ['identity', 'plaintext', 'IPv6'][at] ?? '')
      }
    })
  }

  for (const [name, rules, isDenied, isAllowed] of WAYPOINTS) {
    it(`matches behind a waypoint: ${name}`, () => {
      assert.equal(!decide([policy('p', 'DENY', rules)], THROUGH).isAllowed, isDenied, 'DENY')
      assert.equal(decide([policy('p', 'ALLOW', rules)], THROUGH).isAllowed, isAllowed, 'ALLOW')
    })
  }

  it('lets an ALLOW through the waypoint of nothing that the client and the waypoint would not have alone', () => {
    fc.assert(
      fc.property(fc.array(policies, { maxLength: 3 }), connections, identities, (list, connection, waypoint) => {
        const alone = [connection, { ...connection, source: waypoint }].map((each) => decide(list, each).isAllowed)
        const together = decide(list, { ...connection, via: waypoint }).isAllowed
        if (list.every(({ action, isDryRun }) => action === 'ALLOW' && !isDryRun) && list.every(hasNoNot))
          assert.ok(!together || alone.includes(true))
        assert.equal(decide(list, { ...connection, via: connection.source }).isAllowed, alone[0], 'a waypoint that is the client itself')
      }),
      { numRuns: 5000 },
    )
  })

  for (const [name, policies, verdict] of ORDER) it(`decides: ${name}`, () => assert.deepEqual(decide(policies, FROM_CLIENT), verdict))

  it('reports dry-run policies beside the verdict', () => {
    const policies = [policy('d', 'DENY', A, true), policy('e', 'DENY', N, true), policy('a', 'ALLOW', N, true), policy('b', 'ALLOW', A)]
    assert.deepEqual(decideWithDryRun(policies, FROM_CLIENT), {
      verdict: { isAllowed: true, by: 'shop/b' },
      dryRun: [
        { policy: 'shop/d', effect: 'WOULD_DENY' },
        { policy: 'shop/a', effect: 'WOULD_DENY' },
      ],
    })
    const allowed = decideWithDryRun([policy('a', 'ALLOW', N, true), policy('b', 'ALLOW', A, true)], FROM_CLIENT)
    assert.deepEqual(allowed, { verdict: { isAllowed: true, by: undefined }, dryRun: [{ policy: 'shop/b', effect: 'WOULD_ALLOW' }] })
  })

  it('explains in ztunnel’s words', () => {
    assert.equal(explain(decide([policy('d', 'DENY', A)], FROM_CLIENT)), 'explicitly denied by: shop/d')
    assert.equal(explain(decide([policy('a', 'ALLOW', N)], FROM_CLIENT)), 'allow policies exist, but none allowed')
    assert.equal(explain(decide([policy('a', 'ALLOW', A)], FROM_CLIENT)), 'allowed by: shop/a')
  })

  it('agrees with the slow evaluator', () => {
    fc.assert(
      fc.property(fc.array(policies, { maxLength: 5 }), connections, (list, connection) => {
        const verdict = decide(list, connection)
        assert.equal(verdict.isAllowed, slowly(list, connection))
        assert.deepEqual(decideWithDryRun(list, connection).verdict, verdict)
        assert.deepEqual(
          decide(
            list.filter((one) => !one.isDryRun),
            connection,
          ),
          verdict,
        )
      }),
      { numRuns: 20_000 },
    )
  })
})

// Few values each, so that matches are neither rare nor certain.
const names = fc.constantFrom('a', 'ab', 'b', 'ba')
const texts: fc.Arbitrary<StringMatch> = fc.oneof(
  fc.constant(PRESENCE),
  fc.record({
    kind: fc.constantFrom('exact' as const, 'prefix' as const, 'suffix' as const),
    value: fc.constantFrom('', 'a', 'b', 'ab', 'a/ns/a', '/sa/b', 'a/ns/ab/sa/b'),
  }),
)
const blocks = fc.constantFrom('10.0.0.0/8', '10.0.0.0/31', '10.0.0.1', '0.0.0.0/0', '::/0', 'fd00::/127', 'fd00::1').map(block)
const few = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.oneof({ weight: 4, arbitrary: fc.constant<T[]>([]) }, fc.array(value, { minLength: 1, maxLength: 2 }))
const ports = fc.constantFrom(80, 443)
const accounts = fc.record({ namespace: names, serviceAccount: names })
const fields = fc.record({
  namespaces: few(texts),
  notNamespaces: few(texts),
  principals: few(texts),
  notPrincipals: few(texts),
  sourceIps: few(blocks),
  notSourceIps: few(blocks),
  destinationIps: few(blocks),
  notDestinationIps: few(blocks),
  destinationPorts: few(ports),
  notDestinationPorts: few(ports),
  serviceAccounts: few(accounts),
  notServiceAccounts: few(accounts),
})
const upTo = <T>(maxLength: number, value: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(value, { maxLength })
const policies: fc.Arbitrary<Authorization> = fc.record({
  name: names,
  namespace: names,
  scope: fc.constant('NAMESPACE' as const),
  action: fc.constantFrom('ALLOW' as const, 'DENY' as const),
  rules: upTo(2, upTo(2, upTo(2, fields))),
  isDryRun: fc.boolean(),
})
const identities = fc.record({ trustDomain: names, namespace: names, serviceAccount: names })
const hasNoNot = ({ rules }: Authorization): boolean =>
  rules
    .flat(2)
    .every((one) => one.namespaces.length + one.notNamespaces.length + one.notPrincipals.length + one.notServiceAccounts.length === 0)
const ips = fc.constantFrom('10.0.0.0', '10.0.0.1', '10.0.0.2', '11.0.0.1', 'fd00::1', 'fd01::').map(ip)
const connections: fc.Arbitrary<PolicyConnection> = fc.record({
  source: fc.option(identities, { nil: undefined }),
  sourceIp: ips,
  destinationIp: ips,
  destinationPort: ports,
})

/** The rules' words, sentence by sentence, without regard to speed. */
function slowly(list: readonly Authorization[], connection: PolicyConnection): boolean {
  const { source } = connection
  const inText = (wanted: StringMatch, text: string | undefined): boolean =>
    text !== undefined &&
    (wanted.kind === 'presence' ||
      (wanted.kind === 'exact' && wanted.value === text) ||
      (wanted.kind === 'prefix' && text.slice(0, wanted.value.length) === wanted.value) ||
      (wanted.kind === 'suffix' && text.slice(text.length - wanted.value.length) === wanted.value))
  const principal = source === undefined ? undefined : [source.trustDomain, 'ns', source.namespace, 'sa', source.serviceAccount].join('/')
  const field = <T>(yes: readonly T[], no: readonly T[], test: (value: T) => boolean): boolean =>
    (yes.length === 0 || yes.some(test)) && no.every((value) => !test(value))
  const isMatch = (m: PolicyMatch): boolean =>
    Object.values(m).flat().length > 0 &&
    field(m.namespaces, m.notNamespaces, (wanted) => inText(wanted, source?.namespace)) &&
    field(m.principals, m.notPrincipals, (wanted) => inText(wanted, principal)) &&
    field(m.sourceIps, m.notSourceIps, (cidr) => cidrContains(cidr, connection.sourceIp)) &&
    field(m.destinationIps, m.notDestinationIps, (cidr) => cidrContains(cidr, connection.destinationIp)) &&
    field(m.destinationPorts, m.notDestinationPorts, (port) => port === connection.destinationPort) &&
    field(
      m.serviceAccounts,
      m.notServiceAccounts,
      (one) => `${one.namespace}/${one.serviceAccount}` === `${source?.namespace}/${source?.serviceAccount}`,
    )
  const applies = ({ rules }: Authorization): boolean =>
    rules.some((rule) => rule.every((clause) => clause.length === 0 || clause.some(isMatch)))
  const enforced = list.filter((one) => !one.isDryRun)
  if (enforced.some((one) => one.action === 'DENY' && applies(one))) return false
  const allows = enforced.filter((one) => one.action === 'ALLOW')
  return allows.length === 0 || allows.some(applies)
}
