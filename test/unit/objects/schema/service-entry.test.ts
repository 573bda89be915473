// ServiceEntries at the API's door: what cannot mean anything is refused with file, line and field.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { parseFile } from '../../../../objects/document.ts'
import { formatFault, validate } from '../../../../objects/schema/validate.ts'

const HTTP = { number: 80, name: 'http' }
const entry = (spec: object): unknown => ({
  apiVersion: 'networking.istio.io/v1',
  kind: 'ServiceEntry',
  metadata: { name: 'e' },
  spec: { hosts: ['a.example'], ...spec },
})

/** Fault as an expression; absent = valid. */
const ROWS: readonly { readonly name: string; readonly spec: object; readonly fault?: RegExp }[] = [
  { name: 'a host and nothing else', spec: {} },
  {
    name: 'all fields',
    spec: {
      hosts: ['*.a.example'],
      addresses: ['192.0.2.1', '2001:db8::/32'],
      ports: [{ ...HTTP, protocol: 'HTTP', targetPort: 8080 }],
      location: 'MESH_INTERNAL',
      resolution: 'STATIC',
      endpoints: [
        {
          address: '198.51.100.1',
          ports: { http: 81 },
          labels: { app: 'a' },
          network: 'n',
          locality: 'r/z/s',
          weight: 2,
          serviceAccount: 'sa',
        },
      ],
      exportTo: ['.'],
      subjectAltNames: ['spiffe://a/b'],
    },
  },
  { name: 'names as endpoints', spec: { resolution: 'DNS', endpoints: [{ address: 'a_b.example' }, { address: '192.0.2.1' }] } },
  { name: 'a host as its own endpoint', spec: { resolution: 'DNS_ROUND_ROBIN' } },
  { name: 'a protocol in lower case', spec: { ports: [{ ...HTTP, protocol: 'grpc' }] } },
  { name: 'no host', spec: { hosts: [] }, fault: /^spec\.hosts: names no host/ },
  { name: 'every host', spec: { hosts: ['*'] }, fault: /^spec\.hosts\[0\]: .*every host/ },
  { name: 'a host that is none', spec: { hosts: ['a b'] }, fault: /^spec\.hosts\[0\]: is not a host name/ },
  { name: 'a host twice', spec: { hosts: ['a.example', 'A.example'] }, fault: /^spec\.hosts\[1\]: is named twice/ },
  { name: 'an address that is none', spec: { addresses: ['10.0.0.300'] }, fault: /^spec\.addresses\[0\]: is neither/ },
  { name: 'a block with names', spec: { addresses: ['10.0.0.0/8'], resolution: 'DNS' }, fault: /^spec\.addresses\[0\]: blocks need/ },
  {
    name: 'shared addresses of names',
    spec: { hosts: ['a.example', 'b.example'], addresses: ['192.0.2.1'], resolution: 'DNS' },
    fault: /^spec\.addresses: 2 hosts/,
  },
  { name: 'a port out of range', spec: { ports: [{ ...HTTP, number: 70_000 }] }, fault: /^spec\.ports\[0\]\.number/ },
  { name: 'a port without a name', spec: { ports: [{ number: 80 }] }, fault: /^spec\.ports\[0\]\.name/ },
  { name: 'a port twice', spec: { ports: [HTTP, { number: 80, name: 'other' }] }, fault: /^spec\.ports\[1\]\.number: is named twice/ },
  {
    name: 'a name of a port twice',
    spec: { ports: [HTTP, { number: 81, name: 'http' }] },
    fault: /^spec\.ports\[1\]\.name: is named twice/,
  },
  {
    name: 'a protocol that is none',
    spec: { ports: [{ ...HTTP, protocol: 'QUIC' }] },
    fault: /^spec\.ports\[0\]\.protocol: must be one of HTTP/,
  },
  { name: 'a resolution that is none', spec: { resolution: 'LATER' }, fault: /^spec\.resolution/ },
  { name: 'endpoints of NONE', spec: { endpoints: [{ address: '192.0.2.1' }] }, fault: /^spec\.endpoints: resolution NONE/ },
  { name: 'a selector of NONE', spec: { workloadSelector: {} }, fault: /^spec\.workloadSelector: resolution NONE/ },
  {
    name: 'endpoints and a selector',
    spec: { resolution: 'STATIC', endpoints: [{ address: '192.0.2.1' }], workloadSelector: {} },
    fault: /^spec\.endpoints: only one of/,
  },
  {
    name: 'a name as a STATIC endpoint',
    spec: { resolution: 'STATIC', endpoints: [{ address: 'a.example' }] },
    fault: /^spec\.endpoints\[0\]\.address: resolution STATIC/,
  },
  {
    name: 'a socket file',
    spec: { resolution: 'STATIC', endpoints: [{ address: 'unix:///tmp/s' }] },
    fault: /^spec\.endpoints\[0\]\.address/,
  },
  {
    name: 'an endpoint twice',
    spec: { resolution: 'STATIC', endpoints: [{ address: '192.0.2.1' }, { address: '192.0.2.1' }] },
    fault: /^spec\.endpoints\[1\]\.address: is named twice/,
  },
  {
    name: 'an endpoint without an address',
    spec: { resolution: 'DNS', endpoints: [{ network: 'n' }] },
    fault: /^spec\.endpoints\[0\]\.address/,
  },
  {
    name: 'an endpoint that is no name',
    spec: { resolution: 'DNS', endpoints: [{ address: '-a' }] },
    fault: /^spec\.endpoints\[0\]\.address: is neither/,
  },
  {
    name: 'a port of an endpoint that is no port',
    spec: { resolution: 'DNS', ports: [HTTP], endpoints: [{ address: 'a.example', ports: { https: 1 } }] },
    fault: /^spec\.endpoints\[0\]\.ports\.https: is no port/,
  },
  {
    name: 'two endpoints in turn',
    spec: { resolution: 'DNS_ROUND_ROBIN', endpoints: [{ address: 'a.example' }, { address: 'b.example' }] },
    fault: /^spec\.endpoints: .*one endpoint/,
  },
  {
    name: 'a wildcard as its own endpoint',
    spec: { hosts: ['*.a.example'], resolution: 'DNS' },
    fault: /^spec\.hosts\[0\]: a wildcard cannot be resolved/,
  },
  { name: 'a misspelt field', spec: { endpoint: [] }, fault: /^spec: .*endpoint/ },
  {
    name: 'an account that is none',
    spec: { resolution: 'STATIC', endpoints: [{ address: '192.0.2.1', serviceAccount: 'a/b' }] },
    fault: /serviceAccount: is not the name/,
  },
]

describe('objects/schema/service-entry', () => {
  for (const { name, spec, fault } of ROWS) {
    it(name, () => {
      const result = validate(entry(spec))
      if (fault === undefined) assert.equal(result.is, 'valid', result.is === 'invalid' ? result.faults.map(formatFault).join() : '')
      else assert.match(result.is === 'invalid' ? result.faults.map(formatFault).join('\n') : 'valid', fault)
    })
  }

  it('names the line of a file', () => {
    const { faults } = parseFile(
      'apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: { name: e }\nspec:\n  hosts:\n  - a.example\n  - "*"\n',
      'e.yaml',
    )
    assert.deepEqual(faults, [{ file: 'e.yaml', line: 7, message: 'spec.hosts[1]: a ServiceEntry cannot stand for every host' }])
  })
})
