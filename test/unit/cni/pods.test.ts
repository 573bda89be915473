// The agent's files: what is written is read again; what is broken is set aside and does not stop the agent.
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatRecord, ipsOf, openPodNetns, parseRecord, PodFiles, type PodRecord } from '../../../cni/pods.ts'
import { codeOf } from '../../../kit/error.ts'
import type { IpAddress } from '../../../model/address.ts'
import { silentLog } from '../../support/netns-lab.ts'

const RECORD: PodRecord = {
  place: {
    uid: '5b1e2f30-0000-4000-8000-000000000001',
    namespace: 'shop',
    name: 'cart-1',
    serviceAccount: 'cart',
    netns: '/run/netns/weft-x-pod-1',
    netnsInode: 4_026_532_999n,
    cookie: 18_446_744_073_709_551_615n,
    ips: ['10.244.1.10' as IpAddress, 'fd00::a' as IpAddress],
    hostIfindex: 7,
    bypassesInbound: false,
  },
  enrolment: { stage: 'guarding', wanted: 'in', isPublished: false },
}

const BAD: readonly { readonly name: string; readonly change: object; readonly says: RegExp }[] = [
  { name: 'another version', change: { version: 2 }, says: /version/ },
  { name: 'a uid that is a path', change: { uid: '../../etc/x' }, says: /uid/ },
  { name: 'a relative namespace path', change: { netns: 'run/x' }, says: /netns/ },
  { name: 'a cookie of 0', change: { cookie: '0' }, says: /cookie/ },
  { name: 'a cookie that is a number', change: { cookie: 12 }, says: /cookie/ },
  { name: 'no address', change: { ips: [] }, says: /ips/ },
  { name: 'two addresses of one family', change: { ips: ['10.0.0.1', '10.0.0.2'] }, says: /ips/ },
  { name: 'an address that is none', change: { ips: ['10.0.0.256'] }, says: /ips/ },
  { name: 'an unknown stage', change: { stage: 'flying' }, says: /stage/ },
  { name: 'an unknown wish', change: { wanted: 'maybe' }, says: /wanted/ },
  { name: 'a negative device', change: { hostIfindex: -1 }, says: /hostIfindex/ },
  { name: 'three faults', change: { name: '', stage: '', ips: 1 }, says: /name.*ips.*stage/ },
]

describe('cni/pods', () => {
  it('reads what it writes', () => {
    assert.deepEqual(parseRecord(formatRecord(RECORD)), { ok: true, value: RECORD })
  })

  for (const row of BAD) {
    it(`refuses ${row.name}`, () => {
      const result = parseRecord(JSON.stringify({ ...(JSON.parse(formatRecord(RECORD)) as object), ...row.change }))
      assert.match(result.ok ? '' : result.errors.join(' '), row.says)
    })
  }

  it('refuses what is no JSON object', () => {
    for (const text of ['', '{', 'null', '[]', '3']) assert.equal(parseRecord(text).ok, false, text)
  })

  it('takes one or two addresses, each family once', () => {
    assert.deepEqual(ipsOf(['fd00::A']), ['fd00::a'])
    assert.deepEqual(ipsOf(['10.0.0.1', '::1']), ['10.0.0.1', '::1'])
    for (const raw of [undefined, 'x', [1], ['x'], ['1.1.1.1', '::1', '::2']]) assert.equal(ipsOf(raw), undefined)
  })

  it('keeps one file per pod and sets broken ones aside', () => {
    const directory = mkdtempSync(join(tmpdir(), 'weft-pods-'))
    const files = new PodFiles(join(directory, 'cni'), silentLog)
    const at = (name: string): string => join(directory, 'cni', name)
    files.save(RECORD)
    files.save({ ...RECORD, enrolment: { ...RECORD.enrolment, stage: 'enrolled' } })
    assert.equal(statSync(at(`${RECORD.place.uid}.json`)).mode & 0o777, 0o600)
    writeFileSync(at('cut.json'), '{"version":1')
    writeFileSync(at('other.json'), formatRecord(RECORD))
    writeFileSync(at(`${RECORD.place.uid}.json.new`), 'half')
    assert.deepEqual(
      files.load().map((record) => record.enrolment.stage),
      ['enrolled'],
    )
    assert.deepEqual(readdirSync(join(directory, 'cni')).sort(), [`${RECORD.place.uid}.json`, 'cut.json.bad', 'other.json.bad'].sort())
    files.remove(RECORD.place.uid)
    files.remove(RECORD.place.uid)
    assert.deepEqual(files.load(), [])
    rmSync(directory, { recursive: true })
  })

  it('does not open another namespace under the same name', () => {
    const netns = '/proc/self/ns/net'
    for (const place of [
      { netns, netnsInode: 1n },
      { netns: '/nonexistent', netnsInode: 1n },
      { netns: '/dev/null', netnsInode: 1n },
    ]) {
      assert.throws(
        () => openPodNetns(place),
        (error) => codeOf(error) === 'NETNS_GONE',
      )
    }
  })
})
