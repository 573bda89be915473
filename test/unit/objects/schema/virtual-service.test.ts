// VirtualServices, DestinationRules and RateLimitPolicies at the API's door: misspelt and impossible values are refused with the
// path of the field; what Istio has and the mesh does not support comes in.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { formatFault, validate } from '../../../../objects/schema/validate.ts'

const of = (kind: string, spec: object, apiVersion = 'networking.istio.io/v1'): unknown => ({
  apiVersion,
  kind,
  metadata: { name: 'o' },
  spec,
})
const http = (entry: object): unknown => of('VirtualService', { hosts: ['a'], http: [entry] })
const rule = (trafficPolicy: object): unknown => of('DestinationRule', { host: 'a', trafficPolicy })
const limit = (spec: object): unknown =>
  of(
    'RateLimitPolicy',
    { targetRefs: [{ kind: 'Service', name: 'a' }], limits: [{ requests: 1, per: '1s' }], ...spec },
    'weft.dev/v1alpha1',
  )

const GLOBAL = {
  service: { name: 'limits', port: 8081 },
  domain: 'shop',
  descriptors: [{ entries: ['identity', 'route', { header: 'x-user', key: 'user' }, { key: 'a', value: 'b' }] }],
  timeout: '50ms',
  failureMode: 'open',
}

/** Fault as an expression; absent = valid. */
const ROWS: readonly { readonly name: string; readonly object: unknown; readonly fault?: RegExp }[] = [
  { name: 'a VirtualService', object: http({ route: [{ destination: { host: 'a' } }] }) },
  { name: 'an older version', object: of('VirtualService', { hosts: ['a'] }, 'networking.istio.io/v1alpha3') },
  { name: 'a version that is not known', object: of('VirtualService', {}, 'networking.istio.io/v9'), fault: /^apiVersion: / },
  { name: 'fields without a counterpart', object: of('VirtualService', { hosts: ['*.a'], tcp: [{}], tls: [{}], exportTo: ['.'] }) },
  { name: 'delegate and directResponse', object: http({ delegate: { name: 'x' }, directResponse: { status: 200 } }) },
  { name: 'a misspelt match', object: http({ matches: [] }), fault: /^spec\.http\[0\]: .*matches/ },
  {
    name: 'two kinds of one match',
    object: http({ match: [{ uri: { exact: '/', prefix: '/' } }] }),
    fault: /match\[0\]\.uri: only one of/,
  },
  { name: 'a header name that is none', object: http({ match: [{ headers: { 'a b': {} } }] }), fault: /headers/ },
  { name: 'a duration that is none', object: http({ timeout: '5 s' }), fault: /timeout: must be a duration/ },
  { name: 'a negative weight', object: http({ route: [{ destination: { host: 'a' }, weight: -1 }] }), fault: /route\[0\]\.weight/ },
  { name: 'a percentage over 100', object: http({ fault: { abort: { percentage: { value: 101 } } } }), fault: /percentage\.value/ },
  { name: 'a port that is none', object: http({ route: [{ destination: { host: 'a', port: { number: 0 } } }] }), fault: /port\.number/ },
  { name: 'a host that is none', object: of('VirtualService', { hosts: ['a b'] }), fault: /^spec\.hosts\[0\]: is not a host name/ },
  {
    name: 'two ports of a redirect',
    object: http({ redirect: { port: 1, derivePort: 'FROM_REQUEST_PORT' } }),
    fault: /redirect: only one of/,
  },
  { name: 'a DestinationRule', object: rule({ loadBalancer: { simple: 'RANDOM' }, tls: { mode: 'SIMPLE', sni: 'x' } }) },
  { name: 'no host', object: of('DestinationRule', {}), fault: /^spec\.host/ },
  { name: 'a balancer that is not known', object: rule({ loadBalancer: { simple: 'BEST' } }), fault: /loadBalancer\.simple/ },
  {
    name: 'a hash of two things',
    object: rule({ loadBalancer: { consistentHash: { httpHeaderName: 'a', useSourceIp: true } } }),
    fault: /consistentHash: needs one of/,
  },
  { name: 'a hash of nothing', object: rule({ loadBalancer: { consistentHash: { useSourceIp: false } } }), fault: /needs one of/ },
  {
    name: 'two tables',
    object: rule({ loadBalancer: { consistentHash: { useSourceIp: true, maglev: {}, ringHash: {} } } }),
    fault: /only one of ringHash and maglev/,
  },
  {
    name: 'two subsets of one name',
    object: of('DestinationRule', { host: 'a', subsets: [{ name: 'x' }, { name: 'x' }] }),
    fault: /names of subsets must differ/,
  },
  { name: 'a negative limit', object: rule({ connectionPool: { tcp: { maxConnections: -1 } } }), fault: /maxConnections/ },
  { name: 'a RateLimitPolicy', object: limit({ limits: [{ requests: 1, per: '1m', burst: 5, by: ['identity', { header: 'x-a' }] }] }) },
  { name: 'no target', object: limit({ targetRefs: [] }), fault: /^spec\.targetRefs/ },
  { name: 'a target of another kind', object: limit({ targetRefs: [{ kind: 'Pod', name: 'a' }] }), fault: /targetRefs\[0\]\.kind/ },
  {
    name: 'a group that is not the kind’s',
    object: limit({ targetRefs: [{ group: 'apps', kind: 'Service', name: 'a' }] }),
    fault: /targetRefs\[0\]\.group/,
  },
  {
    name: 'a section of a waypoint',
    object: limit({ targetRefs: [{ kind: 'Gateway', name: 'a', sectionName: 'b' }] }),
    fault: /targetRefs\[0\]\.sectionName/,
  },
  { name: 'no requests', object: limit({ limits: [{ requests: 0, per: '1s' }] }), fault: /limits\[0\]\.requests/ },
  { name: 'a global limit', object: limit({ limits: undefined, global: GLOBAL }) },
  { name: 'no limit of either kind', object: limit({ limits: undefined }), fault: /^spec: must have limits, global, or both/ },
  { name: 'no descriptor', object: limit({ global: { ...GLOBAL, descriptors: [] } }), fault: /global\.descriptors/ },
  {
    name: 'an empty descriptor',
    object: limit({ global: { ...GLOBAL, descriptors: [{ entries: [] }] } }),
    fault: /descriptors\[0\]\.entries/,
  },
  {
    name: 'an entry that is not known',
    object: limit({ global: { ...GLOBAL, descriptors: [{ entries: ['ip'] }] } }),
    fault: /descriptors\[0\]\.entries\[0\]/,
  },
  { name: 'a failure mode that is none', object: limit({ global: { ...GLOBAL, failureMode: 'ask' } }), fault: /global\.failureMode/ },
  { name: 'a domain with blanks', object: limit({ global: { ...GLOBAL, domain: 'a b' } }), fault: /global\.domain/ },
  { name: 'a key that is not known', object: limit({ limits: [{ requests: 1, per: '1s', by: ['ip'] }] }), fault: /limits\[0\]\.by\[0\]/ },
]

describe('objects/schema/virtual-service', () => {
  for (const { name, object, fault } of ROWS) {
    it(name, () => {
      const result = validate(object)
      const text = result.is === 'invalid' ? result.faults.map(formatFault).join('\n') : result.is
      if (fault === undefined) assert.equal(text, 'valid')
      else assert.match(text, fault)
    })
  }
})
