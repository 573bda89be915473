// One execution of the plugin, from headers and stdin into values; every fault at once.
import assert from 'node:assert/strict'
import { type CniCall, parseCniCall } from '../../../../cni/plugin/request.ts'

const HEADERS = {
  'x-cni-command': 'ADD',
  'x-cni-containerid': 'abc123',
  'x-cni-netns': '/var/run/netns/cni-1',
  'x-cni-ifname': 'eth0',
  'x-cni-args': 'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-0;K8S_POD_INFRA_CONTAINER_ID=abc123;K8S_POD_UID=uid-1',
}
const config = (result: unknown = { ips: [{ address: '10.0.0.7/24' }] }, more: object = {}): string =>
  JSON.stringify({ cniVersion: '1.1.0', name: 'pods', type: 'weft-cni', prevResult: result, ...more })

const parse = (change: Record<string, string> = {}, text = config()): CniCall => {
  const call = parseCniCall({ ...HEADERS, ...change }, text)
  assert.ok(call.ok, call.ok ? '' : call.errors.join('; '))
  return call.value
}

describe('cni/plugin/request', () => {
  it('reads an ADD', () => {
    const { network, ...call } = parse()
    assert.deepEqual(call, {
      command: 'ADD',
      cniVersion: '1.1.0',
      containerId: 'abc123',
      netns: '/var/run/netns/cni-1',
      interfaceName: 'eth0',
      pod: { namespace: 'shop', name: 'cart-0', uid: 'uid-1' },
      liveContainers: undefined,
    })
    assert.deepEqual(network?.ips, ['10.0.0.7'])
  })

  for (const { name, result, want } of [
    { name: 'without an interface', result: { ips: [{ address: '10.0.0.7/24' }] }, want: ['10.0.0.7'] },
    {
      name: 'of the pod among others',
      result: {
        interfaces: [{ name: 'cni0' }, { name: 'veth1' }, { name: 'eth0', sandbox: '/x' }],
        ips: [
          { interface: 0, address: '10.0.0.1/24' },
          { interface: 2, address: '10.0.0.7/24' },
        ],
      },
      want: ['10.0.0.7'],
    },
    {
      name: 'one per family',
      result: { ips: [{ address: '10.0.0.7/24' }, { address: '10.0.0.8/24' }, { address: 'fd00::7/64' }] },
      want: ['10.0.0.7', 'fd00::7'],
    },
    {
      name: 'of an interface that is not listed',
      result: { interfaces: [], ips: [{ interface: 5, address: '10.0.0.7/24' }] },
      want: ['10.0.0.7'],
    },
    { name: 'in the form of 0.3', result: { ips: [{ version: '4', address: '10.0.0.7/24' }] }, want: ['10.0.0.7'] },
    { name: 'none yet', result: { interfaces: [{ name: 'eth0', sandbox: '/x' }] }, want: [] },
  ]) {
    it(`takes the addresses ${name}`, () => {
      const { network } = parse({}, config(result))
      assert.deepEqual(network?.ips, want)
      assert.deepEqual(network?.prevResult, result)
    })
  }

  it('a container of something else than Kubernetes has no pod', () => {
    assert.equal(parse({ 'x-cni-args': '' }).pod, undefined)
    assert.equal(parse({ 'x-cni-args': 'IgnoreUnknown=1' }).pod, undefined)
  })

  it('DEL needs neither result nor namespace, GC and STATUS not even a container', () => {
    const none = { 'x-cni-netns': '', 'x-cni-containerid': '', 'x-cni-ifname': '', 'x-cni-args': '' }
    assert.equal(parse({ 'x-cni-command': 'DEL', 'x-cni-netns': '' }, config(null)).command, 'DEL')
    assert.equal(parse({ ...none, 'x-cni-command': 'STATUS' }, config(null)).command, 'STATUS')
    const live = config(null, {
      'cni.dev/valid-attachments': [
        { containerID: 'a', ifname: 'eth0' },
        { containerID: 'b', ifname: 'eth0' },
      ],
    })
    assert.deepEqual(parse({ ...none, 'x-cni-command': 'GC' }, live).liveContainers, ['a', 'b'])
  })

  for (const [what, headers, text, fault] of [
    ['a command that is not known', { 'x-cni-command': 'VERSION' }, config(), /CNI_COMMAND/],
    ['no JSON', {}, '{"a":', /stdin: not JSON/],
    ['a list', {}, '[]', /stdin: not a JSON object/],
    ['a version of the future', {}, config(null, { cniVersion: '2.0.0' }), /cniVersion/],
    ['no result', {}, config(null), /prevResult: missing/],
    ['an address that is none', {}, config({ ips: [{ address: '10.0.0.300/24' }] }), /prevResult\.ips/],
    ['a container id that climbs', { 'x-cni-containerid': '../x' }, config(), /CNI_CONTAINERID: not usable/],
    ['no namespace', { 'x-cni-netns': '' }, config(), /CNI_NETNS: missing/],
    ['a relative namespace', { 'x-cni-netns': 'run/netns/x' }, config(), /CNI_NETNS: not usable/],
    ['a namespace that climbs', { 'x-cni-netns': '/run/netns/../../proc/1/ns/net' }, config(), /CNI_NETNS: not usable/],
    ['a device that is a path', { 'x-cni-ifname': 'a/b' }, config(), /CNI_IFNAME: not usable/],
    ['a long device', { 'x-cni-ifname': 'sixteen-letters-' }, config(), /CNI_IFNAME: not usable/],
    ['a pod name with a slash', { 'x-cni-args': 'K8S_POD_NAME=a/b;K8S_POD_NAMESPACE=x' }, config(), /K8S_POD_NAME is not a name/],
    ['a pod without a namespace', { 'x-cni-args': 'K8S_POD_NAME=a' }, config(), /K8S_POD_NAMESPACE is not a name/],
    ['a uid that is a path', { 'x-cni-args': 'K8S_POD_NAME=a;K8S_POD_NAMESPACE=b;K8S_POD_UID=../x' }, config(), /K8S_POD_UID is not a uid/],
    ['attachments that are none', { 'x-cni-command': 'GC' }, config(null, { 'cni.dev/valid-attachments': [1] }), /valid-attachments/],
  ] as const) {
    it(`refuses ${what}`, () => {
      const call = parseCniCall({ ...HEADERS, ...headers }, text)
      assert.ok(!call.ok)
      assert.match(call.errors.join('; '), fault)
    })
  }

  it('says every fault at once', () => {
    const call = parseCniCall({ 'x-cni-command': 'ADD' }, '{}')
    assert.ok(!call.ok)
    assert.equal(call.errors.length, 5)
  })
})
