// The static file: ztunnel's own example is understood, faults name their line.
import assert from 'node:assert/strict'
import { parseLocalXds } from '../../../ztunnel/local-xds.ts'

const EXAMPLE = `workloads:
- uid: cluster1//v1/Pod/default/local
  name: local
  namespace: default
  serviceAccount: default
  workloadIps: ["127.0.0.1"]
  protocol: HBONE
  node: local
  network: ""
  services:
    "default/example.com":
      80: 8080
policies:
  - action: Allow
    rules:
    - - - notDestinationPorts:
          - 9999
    name: deny-9999
    namespace: default
    scope: Namespace
    dryRun: false
services:
- name: local
  namespace: default
  hostname: example.com
  vips:
    - /127.10.0.1
  ports:
    80: 8080
  canonical: true
`

describe('local xDS file', () => {
  it('reads the form of ztunnel', () => {
    const result = parseLocalXds(EXAMPLE)
    assert.ok(result.ok)
    const [pod] = result.value.workloads
    assert.equal(pod?.protocol, 'HBONE')
    assert.deepEqual(pod?.services.get('default/example.com'), [{ servicePort: 80, targetPort: 8080 }])
    assert.deepEqual(result.value.services[0]?.vips, [{ network: '', cidr: { ip: '127.10.0.1', prefix: 32 } }])
    assert.deepEqual(result.value.policies[0]?.rules[0]?.[0]?.[0]?.notDestinationPorts, [9999])
  })

  for (const { name, change, want } of [
    { name: 'a bad address', change: ['127.0.0.1', '127.0.0.1x'], want: /^line 6: workloads\.0\.workloadIps\.0: .*not an IP address/ },
    { name: 'an unknown field', change: ['  node: local', '  nodes: local'], want: /^line 2: workloads\.0: .*nodes/ },
    { name: 'an unknown action', change: ['Allow', 'Audit'], want: /^line 14: policies\.0\.action/ },
    { name: 'broken YAML', change: ['workloadIps: [', 'workloadIps: [['], want: /^line \d+: / },
  ] as const) {
    it(`names the line of ${name}`, () => {
      const result = parseLocalXds(EXAMPLE.replace(change[0], change[1]))
      assert.ok(!result.ok)
      assert.match(result.errors[0] ?? '', want)
    })
  }
})
