// The text of the tables: what is in each combination, and nothing else.
import assert from 'node:assert/strict'
import { nodeTable, podTable } from '../../../../cni/redirect/rules.ts'
import type { IpAddress } from '../../../../model/address.ts'

const IPS = ['10.1.2.3', 'fd00::3'] as IpAddress[]
const chain = (text: string, name: string): string[] => {
  const [, inside = ''] = new RegExp(`chain ${name} \\{[^\\n]*\\n([^}]*(?:\\{[^}]*\\}[^}]*)*?)\\}\\n(?:chain|\\}|set)`).exec(text) ?? []
  return inside.split('\n').filter((line) => line !== '')
}

describe('cni/redirect/rules', () => {
  const both = podTable({ inbound: true, outbound: true }, { ips: IPS, capturesDns: true })

  it('redirects SYNs only, and never the proxy, probes, HBONE, loopback', () => {
    const inbound = chain(both, 'inbound')
    const outbound = chain(both, 'outbound')
    const syn = 'tcp flags & (fin | syn | rst | ack) == syn'
    assert.equal(inbound.at(-1), `${syn} redirect to :15006`)
    assert.equal(outbound.at(-1), `${syn} redirect to :15001`)
    const proxy = 'meta mark & 0x00000fff { 0x539, 0x111 } accept'
    assert.deepEqual(inbound.slice(0, -1), [
      'ip saddr 169.254.7.127 meta l4proto tcp accept',
      'ip6 saddr fd16:9254:7127:1337:ffff:ffff:ffff:ffff meta l4proto tcp accept',
      proxy,
      'tcp dport 15008 accept',
    ])
    assert.deepEqual(outbound.slice(0, -1), [
      proxy,
      'oif lo accept',
      'ip daddr 169.254.0.0/16 accept',
      'ip6 daddr fe80::/10 accept',
      'meta nfproto ipv4 udp dport 53 dnat ip to 10.1.2.3:15053',
      'meta nfproto ipv6 udp dport 53 dnat ip6 to [fd00::3]:15053',
      `tcp dport 53 ${syn} redirect to :15053`,
    ])
  })

  const CASES = [
    { name: 'nothing yet: chains of type nat stay', rules: { inbound: false, outbound: false }, dns: true, inbound: 0, outbound: 0 },
    { name: 'outbound only', rules: { inbound: false, outbound: true }, dns: true, inbound: 0, outbound: 8 },
    { name: 'inbound only', rules: { inbound: true, outbound: false }, dns: true, inbound: 5, outbound: 0 },
    { name: 'without DNS', rules: { inbound: true, outbound: true }, dns: false, inbound: 5, outbound: 5 },
  ] as const
  for (const row of CASES) {
    it(row.name, () => {
      const text = podTable(row.rules, { ips: IPS, capturesDns: row.dns })
      assert.deepEqual([chain(text, 'inbound').length, chain(text, 'outbound').length], [row.inbound, row.outbound])
      assert.equal(text.match(/type nat hook/g)?.length, 2)
      assert.equal(text.includes('15053'), row.dns && row.rules.outbound)
    })
  }

  it('names DNS by the family that the pod has', () => {
    const four = podTable({ inbound: true, outbound: true }, { ips: IPS.slice(0, 1), capturesDns: true })
    assert.ok(four.includes('dnat ip to') && !four.includes('dnat ip6 to'))
  })

  it('recognises probes of root in the namespace of the node, to the pods that are listed', () => {
    const text = nodeTable([
      { cookie: 7n, ips: IPS },
      { cookie: 9n, ips: ['10.1.2.4' as IpAddress] },
    ])
    assert.match(text, /set probed4 \{ type ipv4_addr; elements = \{ 10\.1\.2\.3 comment "7", 10\.1\.2\.4 comment "9" \} \}/)
    assert.match(text, /set probed6 \{ type ipv6_addr; elements = \{ fd00::3 comment "7" \} \}/)
    assert.equal(text.match(/meta skuid 0 /g)?.length, 2)
    assert.ok(!nodeTable([]).includes('elements'))
  })
})
