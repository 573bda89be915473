// Authority, baggage and forwarded: tables of what is understood and what is not.
import assert from 'node:assert/strict'
import { formatBaggage, parseBaggage } from '../../../hbone/baggage.ts'
import { connectFields, parseAuthority } from '../../../hbone/connect.ts'
import { formatForwarded, parseForwarded } from '../../../hbone/forwarded.ts'
import type { IpAddress } from '../../../model/address.ts'

const AUTHORITIES: readonly (readonly [string, string | undefined])[] = [
  ['10.0.0.1:80', 'ip 10.0.0.1 80'],
  ['[fd00::1]:80', 'ip fd00::1 80'],
  ['[::ffff:10.0.0.1]:80', 'ip 10.0.0.1 80'],
  ['Web.Shop.svc.cluster.local:8080', 'host web.shop.svc.cluster.local 8080'],
  ['10.0.0.1:65536', undefined],
  ['10.0.0.1:0', undefined],
  ['010.0.0.1:80', undefined],
  ['127.1:80', undefined],
  ['fd00::1:80', undefined],
  ['[fd00::1%eth0]:80', undefined],
  ['10.0.0.1', undefined],
  [':80', undefined],
  ['', undefined],
  ['web:080', undefined],
  ['web :80', undefined],
  ['-web:80', undefined],
  ['web..shop:80', undefined],
  [`${'a'.repeat(300)}:80`, undefined],
]

const FORWARDED: readonly (readonly [string, unknown])[] = [
  ['for="10.0.0.1:5000"', { for: { ip: '10.0.0.1', port: 5000 } }],
  ['for="[fd00::1]:5000";host=web.shop', { for: { ip: 'fd00::1', port: 5000 }, host: 'web.shop' }],
  ['For=10.0.0.1; proto=http', { for: { ip: '10.0.0.1', port: 0 } }],
  ['for="[fd00::1]"', { for: { ip: 'fd00::1', port: 0 } }],
  ['for=10.0.0.1, for=10.0.0.2', undefined],
  ['for=10.0.0.1;for=10.0.0.2', undefined],
  ['for=unknown', undefined],
  ['host=web', undefined],
  ['for="10.0.0.1:5000";host="a b"', undefined],
  ['', undefined],
]

describe('hbone/connect: headers', () => {
  for (const [text, want] of AUTHORITIES) {
    it(`reads authority ${JSON.stringify(text.slice(0, 40))}`, () => {
      const got = parseAuthority(text)
      const shown = got?.kind === 'ip' ? `ip ${got.endpoint.ip} ${got.endpoint.port}` : got && `host ${got.host} ${got.port}`
      assert.equal(shown, want)
    })
  }

  for (const [text, want] of FORWARDED) it(`reads forwarded ${JSON.stringify(text)}`, () => assert.deepEqual(parseForwarded(text), want))

  it('writes baggage in Istio’s order and reads it back', () => {
    const fields = {
      cluster: 'Kubernetes',
      namespace: 'shop',
      workload: 'cart-1',
      workloadType: 'pod',
      service: 'cart',
      revision: 'v1',
      region: 'r',
      zone: 'z',
    } as const
    const text =
      'k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.pod.name=cart-1,service.name=cart,service.version=v1,cloud.region=r,cloud.availability_zone=z'
    assert.equal(formatBaggage(fields), text)
    assert.deepEqual(parseBaggage(text), fields)
    assert.equal(formatBaggage({}), '')
    assert.equal(formatBaggage({ namespace: 'a,b', service: 'c\r\nd' }), '')
    assert.deepEqual(parseBaggage(' k8s.deployment.name = web ;p=1, x=y, service.name=, k8s.pod.name=late'), {
      workload: 'web',
      workloadType: 'deployment',
    })
    assert.deepEqual(parseBaggage('a'.repeat(9000)), {})
  })

  it('writes forwarded', () => {
    const client = { ip: 'fd00::1' as IpAddress, port: 5 }
    assert.equal(formatForwarded({ for: client, host: 'web.shop' }), 'for="[fd00::1]:5";host=web.shop')
    assert.equal(formatForwarded({ for: client, host: 'a;b' }), 'for="[fd00::1]:5"')
    const portless = { ...client, port: 0 }
    assert.equal(formatForwarded({ for: portless }), 'for="[fd00::1]"')
    assert.deepEqual(parseForwarded(formatForwarded({ for: portless })), { for: portless })
  })

  it('refuses to build a head that cannot be sent', () => {
    for (const extra of [{ Upper: 'x' }, { connection: 'x' }, { ':path': '/', 'a b': '' }, { a: 'x\ny' }]) {
      assert.throws(() => connectFields({ authority: 'a:1', extra }), TypeError)
    }
    assert.deepEqual(connectFields({ authority: 'a:1', baggage: '' }), [
      [':method', 'CONNECT'],
      [':authority', 'a:1'],
    ])
  })
})
