// What the runtime, its configuration and other programs give the agent: calls of the plugin, conf lists, marks, cgroups.
// Nothing throws; what is accepted is safe to be used as a name, a path or an address.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { insertPlugin, pluginTypes, removePlugin } from '../../cni/install/conf-list.ts'
import { parseMarks } from '../../cni/kubernetes/release-marks.ts'
import { parseCniCall } from '../../cni/plugin/request.ts'
import { podUidOf } from '../../cni/proxy-groups.ts'
import { parseIp } from '../../model/address.ts'
import { fuzzOptions } from '../support/fuzz.ts'

const json = fc.jsonValue({ maxDepth: 3 })
const version = fc.constantFrom('0.2.0', '0.3.1', '1.0.0', '1.1.0', 1, null)
const address = fc.oneof(fc.constantFrom('10.0.0.7/24', 'fd00::7/64', '10.0.0.7', '::ffff:10.0.0.7/120'), fc.string(), json)
const result = fc.record({
  interfaces: fc.oneof(json, fc.array(fc.record({ name: fc.constantFrom('eth0', 'cni0', 'x') }))),
  ips: fc.oneof(json, fc.array(fc.record({ address, interface: fc.oneof(fc.integer(), json) }, { requiredKeys: ['address'] }))),
})
const config = fc.record(
  { cniVersion: version, name: fc.string(), prevResult: fc.oneof(result, json), 'cni.dev/valid-attachments': json },
  { requiredKeys: ['cniVersion'] },
)
const plugins = fc.array(fc.oneof(json, fc.record({ type: fc.constantFrom('bridge', 'weft-cni', 'istio-cni', 1) })))
const list = fc.record({ cniVersion: version, name: fc.oneof(fc.string(), json), plugins: fc.oneof(plugins, json), type: json })
const headers = fc.record({
  'x-cni-command': fc.constantFrom('ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION', ''),
  'x-cni-containerid': fc.oneof(fc.constant('abc'), fc.string()),
  'x-cni-netns': fc.oneof(fc.constantFrom('/run/netns/x', '/run/netns/../x', '/proc/7/ns/net'), fc.string()),
  'x-cni-ifname': fc.oneof(fc.constant('eth0'), fc.string()),
  'x-cni-args': fc.oneof(
    fc.constant('K8S_POD_NAME=a;K8S_POD_NAMESPACE=b;K8S_POD_UID=c'),
    fc.string(),
    fc.constant('K8S_POD_NAME=../a;K8S_POD_NAMESPACE=b'),
  ),
})

describe('fuzz: CNI', function () {
  this.timeout(120_000)

  it('calls of the plugin', () => {
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      config.map((value) => JSON.stringify(value)),
    )
    fc.assert(
      fc.property(headers, text, (given, stdin) => {
        const call = parseCniCall(given, stdin)
        if (!call.ok) {
          assert.ok(call.errors.length > 0)
          return
        }
        const { netns, containerId, interfaceName, pod, network } = call.value
        assert.ok(netns === '' || (netns.startsWith('/') && !netns.split('/').includes('..')))
        for (const name of [containerId, interfaceName, pod?.name ?? '', pod?.namespace ?? '', pod?.uid ?? ''])
          assert.doesNotMatch(name, /[/\s\0]/)
        for (const ip of network?.ips ?? []) assert.equal(parseIp(ip), ip)
        assert.ok((network?.ips.length ?? 0) <= 2)
      }),
      fuzzOptions(),
    )
  })

  it('conf lists: our entry is last and once, and leaves what was there', () => {
    const text = fc.oneof(
      fc.string(),
      list.map((value) => JSON.stringify(value)),
    )
    fc.assert(
      fc.property(fc.constantFrom('a.conflist', 'a.conf', 'a.json'), text, (name, given) => {
        const edit = insertPlugin(name, given)
        if (!edit.ok) return
        const types = pluginTypes(edit.value.name, edit.value.text ?? given)
        assert.equal(types.at(-1), 'weft-cni')
        assert.equal(types.filter((type) => type === 'weft-cni').length, 1)
        const again = insertPlugin(edit.value.name, edit.value.text ?? given)
        assert.ok(again.ok && again.value.text === undefined, 'nothing to do any more')
        const left = removePlugin(edit.value.name, edit.value.text ?? given) ?? ''
        assert.deepEqual(pluginTypes(edit.value.name, left), types.slice(0, -1))
      }),
      fuzzOptions(),
    )
  })

  it('marks of releases, and cgroups', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), fc.string(), (marks, group) => {
        for (const namespace of parseMarks(marks)?.namespaces ?? []) assert.match(namespace, /^[a-z0-9.-]+$/)
        assert.match(podUidOf(`/kubepods/pod${group}/x`) ?? 'none', /^[a-f0-9-]{32,36}$|^none$/)
      }),
      fuzzOptions(),
    )
  })
})
