// References to backends: where they lead, and what is said of those that lead nowhere.
import { answers500, BACKEND, CART, checkRows, GOOD, ruleOf, type RouteRow } from '../../../../support/route-rows.ts'
import { service } from '../../../../support/route-world.ts'

const ROWS: readonly RouteRow[] = [
  {
    name: 'weights, 1 by default',
    rules: [{ backendRefs: [BACKEND, { name: 'cart-v2', port: 80, weight: 0 }] }],
    want: (all) => ruleOf(all).backends.map(({ weight }) => weight),
    is: [1, 0],
  },
  {
    name: 'a backend of another namespace needs no grant',
    rules: [{ backendRefs: [{ name: 'plain', namespace: 'bare', port: 80 }] }],
    want: (all) => ruleOf(all).backends[0],
    is: { ...CART, ref: { ...CART.ref, service: 'bare/plain.bare.svc.cluster.local' } },
  },
  {
    name: 'filters of a backend',
    rules: [{ backendRefs: [{ ...BACKEND, filters: [{ type: 'RequestHeaderModifier', requestHeaderModifier: { remove: ['a'] } }] }] }],
    want: (all) => ruleOf(all).backends[0]?.filters,
    is: [{ kind: 'requestHeaders', edits: { set: [], add: [], remove: ['a'] } }],
  },
  {
    name: 'no Service',
    rules: [{ backendRefs: [{ name: 'gone', port: 80, weight: 3 }, BACKEND] }],
    want: (all) => ruleOf(all).backends.map(({ kind, weight }) => [kind, weight]),
    is: [
      ['invalid', 3],
      ['service', 1],
    ],
    says: [GOOD[0], /^ResolvedRefs False BackendNotFound: rules\[0\]\.backendRefs\[0\]: there is no Service shop\/gone: requests/],
  },
  {
    name: 'another kind',
    rules: [{ backendRefs: [{ group: 'a.example', kind: 'Bucket', name: 'b' }] }],
    want: answers500,
    is: [['invalid']],
    says: [GOOD[0], /^ResolvedRefs False InvalidKind/],
  },
  {
    name: 'no such port',
    rules: [{ backendRefs: [{ name: 'cart', port: 81 }] }],
    want: answers500,
    is: [['invalid']],
    says: [GOOD[0], /^ResolvedRefs False BackendNotFound: .*has no port 81/],
  },
  {
    name: 'a UDP port',
    rules: [{ backendRefs: [{ name: 'dns', port: 53 }] }],
    more: [service('shop', 'dns', [], { ports: [{ port: 53, protocol: 'UDP' }] })],
    want: answers500,
    is: [['invalid']],
    says: [GOOD[0], /^ResolvedRefs False UnsupportedProtocol/],
  },
  {
    name: 'a name outside the mesh',
    rules: [{ backendRefs: [{ name: 'ext', port: 80 }] }],
    more: [service('shop', 'ext', ['http:80'], { type: 'ExternalName', externalName: 'a.example' })],
    want: answers500,
    is: [['invalid']],
    says: [GOOD[0], /^ResolvedRefs False BackendNotFound: .*ExternalName/],
  },
  {
    name: 'several references: the first reason',
    rules: [
      {
        backendRefs: [
          { kind: 'X', name: 'b' },
          { name: 'gone', port: 1 },
        ],
      },
    ],
    says: [GOOD[0], /^ResolvedRefs False InvalidKind: .*; .*there is no Service/],
  },
]

checkRows('controlplane/translate/gateway/backends', ROWS)
