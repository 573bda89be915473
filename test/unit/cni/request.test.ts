// Bodies of /cmdadd and /cmddel: Istio's fields and ours, and what is refused.
import assert from 'node:assert/strict'
import { parsePluginRequest } from '../../../cni/request.ts'

const GOOD = {
  Netns: '/var/run/netns/cni-1',
  PodName: 'cart-1',
  PodNamespace: 'shop',
  IPs: [{ Interface: null, Address: '10.244.1.10/24', Gateway: '10.244.1.1' }, { Address: 'fd00::a/64' }],
}

const BAD: readonly { readonly name: string; readonly change: object; readonly says: RegExp }[] = [
  { name: 'no name', change: { PodName: undefined }, says: /PodName/ },
  { name: 'a name with a slash', change: { PodName: 'a/b' }, says: /PodName/ },
  { name: 'a namespace that is a number', change: { PodNamespace: 7 }, says: /PodNamespace/ },
  { name: 'a uid with dots', change: { PodUID: '..' }, says: /PodUID/ },
  { name: 'a relative path', change: { Netns: 'netns/x' }, says: /Netns/ },
  { name: 'a climbing path', change: { Netns: '/run/netns/../../x' }, says: /Netns/ },
  { name: 'a path with a NUL', change: { Netns: '/run/\u0000' }, says: /Netns/ },
  { name: 'no addresses', change: { IPs: [] }, says: /IPs/ },
  { name: 'addresses as text', change: { IPs: '10.0.0.1' }, says: /IPs/ },
  { name: 'an address that is none', change: { IPs: [{ Address: '10.0.0/24' }] }, says: /IPs/ },
  { name: 'two of one family', change: { IPs: [{ Address: '10.0.0.1/24' }, { Address: '10.0.0.2/24' }] }, says: /IPs/ },
  { name: 'a device name with a slash', change: { HostInterface: 'a/b' }, says: /HostInterface/ },
  { name: 'a device name that is too long', change: { HostInterface: 'abcdefghijklmnop' }, says: /HostInterface/ },
  { name: 'everything wrong', change: { PodName: 1, PodNamespace: 2, Netns: 3, IPs: 4 }, says: /PodNamespace.*PodName.*Netns.*IPs/ },
]

describe('cni/request', () => {
  it("reads what Istio's plugin sends", () => {
    assert.deepEqual(parsePluginRequest(JSON.stringify(GOOD), true), {
      ok: true,
      value: {
        netns: '/var/run/netns/cni-1',
        namespace: 'shop',
        name: 'cart-1',
        uid: undefined,
        ips: ['10.244.1.10', 'fd00::a'],
        hostInterface: undefined,
      },
    })
  })

  it('reads our additions', () => {
    const result = parsePluginRequest(JSON.stringify({ ...GOOD, PodUID: 'u-1', HostInterface: 'veth1' }), true)
    assert.deepEqual(result.ok && [result.value.uid, result.value.hostInterface], ['u-1', 'veth1'])
  })

  it('needs only the pod for a removal', () => {
    assert.equal(parsePluginRequest('{"PodName":"a","PodNamespace":"b"}', false).ok, true)
    assert.equal(parsePluginRequest('{"PodName":"a"}', false).ok, false)
  })

  for (const row of BAD) {
    it(`refuses ${row.name}`, () => {
      const result = parsePluginRequest(JSON.stringify({ ...GOOD, ...row.change }), true)
      assert.match(result.ok ? '' : result.errors.join(' '), row.says)
    })
  }

  it('refuses what is no JSON object', () => {
    for (const text of ['', '{', 'null', '"x"']) assert.equal(parsePluginRequest(text, true).ok, false, text)
  })
})
