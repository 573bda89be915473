// Policies at a waypoint, case by case: what is asked, what the request says, and the verdict.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { translateTargeted } from '../../../../controlplane/translate/http-authorization.ts'
import type { HttpPolicy } from '../../../../model/http-policy.ts'
import type { AuthorizationPolicy } from '../../../../model/istio-security.ts'
import { type JudgedHead, judgeHttp } from '../../../../policy/http/judge.ts'
import { ip } from '../../../support/mesh-values.ts'

type Operation = Readonly<Record<string, readonly string[]>>

const policy = (action: string, rules: readonly object[]): HttpPolicy => {
  const object = {
    apiVersion: 'v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'p', namespace: 'shop' },
    spec: { action, rules, targetRefs: [{ kind: 'Service', name: 'a' }] },
  }
  const made = translateTargeted(object as AuthorizationPolicy)
  assert.deepEqual([made.notes, made.unsupported], [[], undefined])
  return { ...(made.policy ?? assert.fail()), isGatewayWide: false }
}
const to = (operation: Operation): object => ({ to: [{ operation }] })
const header = (name: string, values?: readonly string[], notValues?: readonly string[]): object => ({
  when: [{ key: `request.headers[${name}]`, ...(values && { values }), ...(notValues && { notValues }) }],
})
const asked = (change: Partial<JudgedHead> = {}): JudgedHead => ({
  method: 'GET',
  authority: 'cart.shop',
  path: '/a/b',
  headers: [['x-user', 'ann']],
  ...change,
})
const CLIENT = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'client' }
const matches = (rule: object, head: JudgedHead | undefined, action: 'ALLOW' | 'DENY' = 'ALLOW'): boolean => {
  const connection = { source: CLIENT, sourceIp: ip('10.0.0.1'), destinationIp: ip('10.96.0.1'), destinationPort: 80 }
  return judgeHttp([policy(action, [rule])], connection, head).isAllowed === (action === 'ALLOW')
}

const ROWS: readonly (readonly [name: string, rule: object, head: Partial<JudgedHead>, holds: boolean])[] = [
  ['a method', to({ methods: ['GET'] }), {}, true],
  ['another method', to({ methods: ['GET', 'HEAD'] }), { method: 'POST' }, false],
  ['methods are case-sensitive', to({ methods: ['get'] }), {}, false],
  ['a method by its beginning', to({ methods: ['P*'] }), { method: 'PATCH' }, true],
  ['any method', to({ methods: ['*'] }), { method: 'BREW' }, true],
  ['not a method', to({ notMethods: ['DELETE'] }), {}, true],
  ['not this method', to({ notMethods: ['DELETE'] }), { method: 'DELETE' }, false],
  ['a path', to({ paths: ['/a/b'] }), {}, true],
  ['a path is whole', to({ paths: ['/a'] }), {}, false],
  ['a path by its beginning', to({ paths: ['/a/*'] }), {}, true],
  ['the beginning counts characters', to({ paths: ['/ad*'] }), { path: '/admin' }, true],
  ['a path by its end', to({ paths: ['*/b'] }), {}, true],
  ['a path by another end', to({ paths: ['*/c'] }), {}, false],
  ['any path', to({ paths: ['*'] }), {}, true],
  ['not a path', to({ notPaths: ['/admin*'] }), {}, true],
  ['not this path', to({ notPaths: ['/admin*'] }), { path: '/admin/x' }, false],
  ['paths are case-sensitive', to({ paths: ['/A/B'] }), {}, false],
  ['a path and not a part of it', to({ paths: ['/a/*'], notPaths: ['/a/b'] }), {}, false],
  ['a path with parameters', to({ paths: ['/a/*'] }), { path: '/a/b;x=y' }, true],
  ['a host', to({ hosts: ['cart.shop'] }), {}, true],
  ['a host with any port', to({ hosts: ['cart.shop'] }), { authority: 'cart.shop:8080' }, true],
  ['a host with its port', to({ hosts: ['cart.shop:80'] }), { authority: 'cart.shop:80' }, true],
  ['a host with another port', to({ hosts: ['cart.shop:80'] }), { authority: 'cart.shop:81' }, false],
  ['a host in capitals', to({ hosts: ['CART.shop'] }), {}, true],
  ['a host with a final dot', to({ hosts: ['cart.shop'] }), { authority: 'cart.shop.' }, true],
  ['a host by its end', to({ hosts: ['*.shop'] }), {}, true],
  ['not a host, whatever the port', to({ notHosts: ['cart.shop'] }), { authority: 'cart.shop:99' }, false],
  ['an IPv6 host', to({ hosts: ['[::1]'] }), { authority: '[::1]:80' }, true],
  ['the service’s port', to({ ports: ['80'] }), {}, true],
  ['another port', to({ ports: ['8080'] }), {}, false],
  ['not a port', to({ notPorts: ['80'] }), {}, false],
  ['method and path', to({ methods: ['GET'], paths: ['/a/b'] }), {}, true],
  ['method, but not the path', to({ methods: ['GET'], paths: ['/x'] }), {}, false],
  ['one of two operations', { to: [{ operation: { methods: ['PUT'] } }, { operation: { paths: ['/a/*'] } }] }, {}, true],
  ['neither of two operations', { to: [{ operation: { methods: ['PUT'] } }, { operation: { paths: ['/x'] } }] }, {}, false],
  [
    'a client and a method',
    { from: [{ source: { principals: ['cluster.local/ns/shop/sa/client'] } }], ...to({ methods: ['GET'] }) },
    {},
    true,
  ],
  [
    'another client and the method',
    { from: [{ source: { principals: ['cluster.local/ns/shop/sa/x'] } }], ...to({ methods: ['GET'] }) },
    {},
    false,
  ],
  ['a namespace', { from: [{ source: { namespaces: ['shop'] } }] }, {}, true],
  ['a block', { from: [{ source: { ipBlocks: ['10.0.0.0/24'] } }] }, {}, true],
  ['not an account', { from: [{ source: { notServiceAccounts: ['client'] } }] }, {}, false],
  ['everything', {}, {}, true],
  ['a header', header('x-user', ['ann']), {}, true],
  ['a header in capitals', header('X-User', ['ann']), {}, true],
  ['another value', header('x-user', ['bob']), {}, false],
  ['a value by its beginning', header('x-user', ['a*']), {}, true],
  ['a header that is there', header('x-user', ['*']), {}, true],
  ['a header that is not there', header('x-none', ['*']), {}, false],
  ['a header that is empty is not there', header('x-user', ['*']), { headers: [['x-user', '']] }, false],
  ['not a value', header('x-user', undefined, ['bob']), {}, true],
  ['not this value', header('x-user', undefined, ['ann']), {}, false],
  ['not a value of a header that is not there', header('x-none', undefined, ['a']), {}, true],
  ['a header and a method', { ...header('x-user', ['ann']), ...to({ methods: ['PUT'] }) }, {}, false],
  ['source.namespace', { when: [{ key: 'source.namespace', values: ['shop'] }] }, {}, true],
  ['destination.port', { when: [{ key: 'destination.port', notValues: ['80'] }] }, {}, false],
]

describe('policy/http/judge', () => {
  it('has no row twice', () => assert.equal(new Set(ROWS.map(([name]) => name)).size, ROWS.length))

  for (const [name, rule, head, holds] of ROWS) {
    it(name, () => {
      assert.equal(matches(rule, asked(head)), holds)
      assert.equal(matches(rule, asked(head), 'DENY'), holds)
    })
  }

  it('a header that comes twice: an ALLOW wants all values, a DENY one', () => {
    const twice = asked({
      headers: [
        ['x-user', 'ann'],
        ['x-user', 'eve'],
      ],
    })
    assert.equal(matches(header('x-user', ['ann']), twice), false)
    assert.equal(matches(header('x-user', ['ann', 'eve']), twice), true)
    assert.equal(matches(header('x-user', ['eve']), twice, 'DENY'), true)
    assert.equal(matches(header('x-user', ['ann,eve']), twice, 'DENY'), true)
    assert.equal(matches(header('x-user', undefined, ['eve']), twice), false)
    assert.equal(matches(header('x-user', undefined, ['ann']), twice, 'DENY'), true)
  })

  const BEHIND: readonly (readonly [path: string, operation: Operation, allows: boolean, denies: boolean])[] = [
    ['/admin;x=y', { paths: ['/admin'] }, false, true],
    ['/admin;', { paths: ['/admin*'] }, true, true],
    ['/admin;x/keys', { paths: ['/admin/*'] }, false, true],
    ['/admin%3Bx/keys', { paths: ['/admin/*'] }, false, true],
    ['/admin;x', { notPaths: ['/admin'] }, false, true],
    ['/a;x/b', { paths: ['/a;x/*'] }, false, true],
    ['/a;x/b', { paths: ['/c'] }, false, false],
    ['/a;x/b', { notPaths: ['/c'] }, true, true],
  ]
  for (const [path, operation, allows, denies] of BEHIND)
    it(`a path with and without parameters: an ALLOW wants both, a DENY one: ${path} ${JSON.stringify(operation)}`, () => {
      assert.equal(matches(to(operation), asked({ path })), allows)
      assert.equal(matches(to(operation), asked({ path }), 'DENY'), denies)
    })

  it('what is no HTTP: an ALLOW of HTTP does not match, a DENY of HTTP does', () => {
    for (const rule of [to({ methods: ['GET'] }), to({ notPaths: ['/x'] }), header('x-user', ['ann'])]) {
      assert.equal(matches(rule, undefined), false)
      assert.equal(matches(rule, undefined, 'DENY'), true)
    }
    assert.equal(matches(to({ ports: ['80'] }), undefined), true)
    assert.equal(matches(to({ ports: ['81'], methods: ['GET'] }), undefined, 'DENY'), false)
  })

  it('DENY comes first; without an ALLOW everything else passes; of ALLOWs one must match', () => {
    const connection = { source: CLIENT, sourceIp: ip('10.0.0.1'), destinationIp: ip('10.96.0.1'), destinationPort: 80 }
    const get = policy('ALLOW', [to({ methods: ['GET'] })])
    const put = policy('ALLOW', [to({ methods: ['PUT'] })])
    const deny = policy('DENY', [to({ paths: ['/a/*'] })])
    const verdict = (...list: readonly HttpPolicy[]): string => {
      const said = judgeHttp(list, connection, asked())
      return said.isAllowed ? 'allowed' : said.reason
    }
    assert.equal(verdict(), 'allowed')
    assert.equal(verdict(get, put), 'allowed')
    assert.equal(verdict(put), 'NOT_ALLOWED')
    assert.equal(verdict(get, deny), 'DENIED_BY')
    assert.equal(verdict(policy('DENY', [to({ paths: ['/x'] })])), 'allowed')
    assert.equal(verdict(policy('ALLOW', [])), 'NOT_ALLOWED')
  })
})
