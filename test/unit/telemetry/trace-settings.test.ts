// Which texts name a collector, those who vouch for it, a protocol and a percentage.
import assert from 'node:assert/strict'
import { isCaBundle, isCollectorUrl, isOtlpProtocol, isPercent } from '../../../telemetry/trace-settings.ts'
import { selfSigned } from '../../support/self-signed.ts'

describe('settings of tracing', () => {
  const rows: { name: string; test: (text: string) => boolean; yes: readonly string[]; no: readonly string[] }[] = [
    {
      name: 'a collector is an address without secrets',
      test: isCollectorUrl,
      yes: ['http://collector.observe.svc.cluster.local:4318', 'https://[fd00::1]:4317', 'http://c:4318/v1/traces'],
      no: ['', 'collector:4317', 'ftp://collector', 'http://', 'http://user:word@collector:4318', 'http://user@collector:4318'],
    },
    { name: 'a protocol', test: isOtlpProtocol, yes: ['grpc', 'http'], no: ['', 'GRPC', 'http/json'] },
    { name: 'a percentage', test: isPercent, yes: ['0', '1', '0.5', '100', '100.0'], no: ['', '-1', '101', '1e1', '.5', '1%', 'all'] },
  ]
  for (const { name, test, yes, no } of rows)
    it(name, () => {
      assert.deepEqual(yes.filter(test), yes)
      assert.deepEqual(no.filter(test), [])
    })

  it('certificates that vouch for a collector', async () => {
    const { certPem, keyPem } = await selfSigned('localhost')
    const crlf = certPem.replaceAll('\n', '\r\n')
    for (const text of [certPem, certPem + certPem, `\n${crlf}`]) assert.equal(isCaBundle(text), true, text)
    const cut = certPem.replace(/.{20}\n-----END/, '\n-----END')
    for (const text of ['', 'x', '/etc/ca.pem', keyPem, certPem + keyPem, keyPem + certPem, `# mine\n${certPem}`, cut, certPem.repeat(200)])
      assert.equal(isCaBundle(text), false, text.slice(0, 200))
  })
})
