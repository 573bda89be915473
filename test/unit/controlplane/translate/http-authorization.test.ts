// AuthorizationPolicies for waypoints: what a waypoint cannot see closes the rule, and the status says so.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { translateTargeted } from '../../../../controlplane/translate/http-authorization.ts'
import type { AuthorizationPolicy } from '../../../../model/istio-security.ts'
import type { MeshObject } from '../../../../model/object.ts'
import { decodeListener, encodeListener } from '../../../../xds/resource/listener.ts'
import { object, SHOP, translate } from '../../../support/route-world.ts'

const TARGETS = [{ group: '', kind: 'Service', name: 'cart' }]
const of = (spec: object, more: object = {}): AuthorizationPolicy =>
  object('security.istio.io/v1', 'AuthorizationPolicy', 'shop', 'p', { targetRefs: TARGETS, ...spec }, more) as AuthorizationPolicy
const to = (operation: object): object => ({ to: [{ operation }] })

/** `rules` = rules in force; `-` = everything is denied at the target. */
const ROWS: readonly { readonly name: string; readonly rule: object; readonly lost: RegExp }[] = [
  {
    name: 'a JWT',
    rule: { from: [{ source: { requestPrincipals: ['*'] } }] },
    lost: /requestPrincipals: needs HTTP, which waypoints do not see/,
  },
  { name: 'an address before proxies', rule: { from: [{ source: { remoteIpBlocks: ['10.0.0.0/8'] } }] }, lost: /remoteIpBlocks/ },
  {
    name: 'claims',
    rule: { when: [{ key: 'request.auth.claims[sub]', values: ['a'] }] },
    lost: /"request\.auth\.claims\[sub\]" cannot be seen by waypoints/,
  },
  { name: 'the endpoint’s address', rule: { when: [{ key: 'destination.ip', values: ['10.0.0.1'] }] }, lost: /destination\.ip/ },
  {
    name: 'a header that is taken off',
    rule: { when: [{ key: 'request.headers[Host]', values: ['a'] }] },
    lost: /request\.headers\[Host\]/,
  },
  {
    name: 'a header that is no name',
    rule: { when: [{ key: 'request.headers[:path]', values: ['a'] }] },
    lost: /request\.headers\[:path\]/,
  },
  { name: 'a header without values', rule: { when: [{ key: 'request.headers[a]' }] }, lost: /holds nothing/ },
  { name: 'a path template', rule: to({ paths: ['/a/{*}'] }), lost: /paths: "\/a\/\{\*\}" is not valid/ },
  { name: 'a path with a query', rule: to({ paths: ['/a?b'] }), lost: /paths/ },
  { name: 'a star inside', rule: to({ hosts: ['a.*.b'] }), lost: /hosts: "a\.\*\.b" is not valid/ },
  { name: 'an empty list', rule: to({ methods: [] }), lost: /methods: "" is not valid/ },
  { name: 'a port that is none', rule: to({ ports: ['http'] }), lost: /ports: "http"/ },
  { name: 'no list', rule: to({ methods: 'GET' }), lost: /methods: is not a list|methods: Invalid/ },
  { name: 'a field that is not known', rule: to({ verbs: ['GET'] }), lost: /verbs: is not known|verbs/ },
  { name: 'a part that is not known', rule: { because: [] }, lost: /because/ },
  { name: 'an empty operation', rule: to({}), lost: /to: holds nothing/ },
  { name: 'no object at all', rule: { from: 7 }, lost: /./ },
]

describe('controlplane/translate/http-authorization', () => {
  for (const { name, rule, lost } of ROWS) {
    it(`${name}: an ALLOW rule is dropped, a DENY rule loses the field`, () => {
      const allow = translateTargeted(of({ action: 'ALLOW', rules: [rule] }))
      assert.deepEqual(allow.policy?.rules, [])
      assert.match(allow.notes.join('\n'), lost)
      const deny = translateTargeted(of({ action: 'DENY', rules: [rule] }))
      assert.deepEqual(deny.policy?.rules, [[]])
    })
  }

  it('a DENY keeps what can be seen', () => {
    const { policy } = translateTargeted(
      of({ action: 'DENY', rules: [{ from: [{ source: { requestPrincipals: ['a'], namespaces: ['b'] } }], ...to({ paths: ['/a'] }) }] }),
    )
    assert.equal(policy?.rules[0]?.length, 2)
    assert.deepEqual(policy?.rules[0]?.[0]?.[0]?.connection.namespaces, [{ kind: 'exact', value: 'b' }])
  })

  const listenerOf = (...policies: readonly MeshObject[]): readonly string[] =>
    translate([...SHOP, ...policies])
      .listeners.get('shop/waypoint/shop/cart.shop.svc.cluster.local/80')
      ?.authorization.map(({ name, action, rules, isGatewayWide }) => `${name} ${action} ${rules.length}${isGatewayWide ? ' wide' : ''}`) ??
    []
  const said = (spec: object, more: object = {}, namespace = 'shop'): string => {
    const policy = object('security.istio.io/v1', 'AuthorizationPolicy', namespace, 'p', spec, more)
    const [finding] = [...translate([...SHOP, policy]).waypointFindings.values()]
    return `${finding?.type} ${finding?.status} ${finding?.reason}: ${finding?.message}`
  }
  const rules = [to({ methods: ['GET'] })]

  it('holds at the listeners of its targets only', () => {
    assert.deepEqual(listenerOf(of({ rules })), ['shop/p ALLOW 1'])
    assert.deepEqual(listenerOf(of({ rules, targetRefs: [{ group: '', kind: 'Service', name: 'cart-v2' }] })), [])
    const gateway = { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'waypoint' }
    assert.deepEqual(listenerOf(of({ rules, targetRefs: [gateway, ...TARGETS] })), ['shop/p ALLOW 1 wide'])
    const ofClass = { group: 'gateway.networking.k8s.io', kind: 'GatewayClass', name: 'istio-waypoint' }
    const root = object('security.istio.io/v1', 'AuthorizationPolicy', 'weft-system', 'p', { rules, targetRefs: [ofClass] })
    assert.deepEqual(listenerOf(root), ['weft-system/p ALLOW 1 wide'])
    assert.deepEqual(listenerOf(of({ rules, targetRefs: [ofClass] })), [])
  })

  it('says what became of it', () => {
    assert.equal(said({ rules, targetRefs: TARGETS }), 'WaypointAccepted True Accepted: enforced by the waypoint')
    assert.match(
      said({ rules: [{ from: [{ source: { requestPrincipals: ['*'] } }] }], targetRefs: TARGETS }),
      /^WaypointAccepted True PartiallyInvalid: .*requestPrincipals.*the rules concerned allow nothing/,
    )
    assert.match(said({ rules, targetRefs: [{ kind: 'Service', name: 'gone' }] }), /False TargetNotFound: .*there is no Service shop\/gone/)
    assert.match(
      said({ rules, targetRefs: [{ kind: 'Service', name: 'cart', namespace: 'shop' }] }, {}, 'bare'),
      /False TargetNotFound: .*of another namespace/,
    )
    assert.match(said({ rules, targetRefs: [{ kind: 'Service', name: 'plain' }] }, {}, 'bare'), /False AncestorNotBound/)
    assert.match(said({ rules, targetRefs: [{ kind: 'Pod', name: 'a' }] }), /False UnsupportedValue: .*kind Pod/)
    assert.match(said({ action: 'AUDIT', rules, targetRefs: TARGETS }), /False UnsupportedValue: action AUDIT/)
    assert.match(
      said({ rules, targetRefs: TARGETS }, { annotations: { 'istio.io/dry-run': 'true' } }),
      /False UnsupportedValue: istio\.io\/dry-run/,
    )
  })

  it('CUSTOM asks nobody: what it matches is denied', () => {
    const custom = of({ action: 'CUSTOM', provider: { name: 'x' }, rules })
    assert.deepEqual(listenerOf(custom), ['shop/p DENY 1'])
    assert.match(translateTargeted(custom).unsupported ?? '', /CUSTOM asks nobody/)
  })

  it('too many at one listener deny everything', () => {
    const many = Array.from({ length: 129 }, (_, i) => ({ ...of({ rules }), metadata: { name: `p${i}`, namespace: 'shop' } }))
    assert.deepEqual(listenerOf(...many), ['weft/too-many-policies DENY 1'])
    const [finding] = [...translate([...SHOP, ...many]).waypointFindings.values()]
    assert.match(finding?.message ?? '', /too many .* everything is denied/)
  })

  it('is the same after the wire', () => {
    const whole = of({
      action: 'DENY',
      rules: [
        {
          from: [{ source: { principals: ['a/b*'], notIpBlocks: ['10.0.0.0/8'] } }],
          to: [
            {
              operation: {
                hosts: ['A'],
                notHosts: ['*b'],
                methods: ['GET'],
                notMethods: ['P*'],
                paths: ['/a*'],
                notPaths: ['*'],
                ports: ['80'],
              },
            },
          ],
          when: [{ key: 'request.headers[X-A]', values: ['1', '2*'], notValues: ['*3'] }],
        },
      ],
    })
    const listener = translate([...SHOP, whole]).listeners.get('shop/waypoint/shop/cart.shop.svc.cluster.local/80')
    assert.ok(listener !== undefined && listener.authorization.length === 1)
    const read = decodeListener(encodeListener(listener))
    assert.ok(read.ok)
    assert.deepEqual(read.value.authorization, listener.authorization)
  })
})
