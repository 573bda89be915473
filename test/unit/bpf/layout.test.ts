// The TypeScript layouts and tables against the BTF of the committed objects, and encoding there and back.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { BPF_DIRECTORY } from '../../../bpf/build.ts'
import * as layouts from '../../../bpf/layout.ts'
import { MAPS, objectPath, POD_INBOUND, POD_OUTBOUND, POD_SEALED, PROXY_PORTS, SLOTS, STATS } from '../../../bpf/spec.ts'
import type { IpAddress } from '../../../model/address.ts'
import { structOf } from '../../support/btf.ts'

const OBJECTS = ['connect', 'events', 'original-dst', 'steer', 'guard'] as const
const header = (name: string): string => readFileSync(join(BPF_DIRECTORY, 'include', name), 'utf8')
const ip = (text: string): IpAddress => text as IpAddress

describe('bpf/layout', () => {
  const structs: { name: string; bytes: number; offsets: Readonly<Record<string, number>> }[] = Object.values(layouts).flatMap((value) =>
    typeof value === 'object' && 'offsets' in value && value.name !== '' ? [value] : [],
  )

  for (const layout of structs)
    it(`struct ${layout.name} is as in C`, () => {
      const found = OBJECTS.map((name) => structOf(objectPath(name), layout.name)).filter((known) => known !== undefined)
      assert.ok(found.length > 0, 'no object has it')
      for (const known of found) assert.deepEqual(known, { bytes: layout.bytes, offsets: layout.offsets })
    })

  it('counters are named in the order of enum stat', () => {
    const names = [...header('stats.h').matchAll(/^\tSTAT_(\w+),/gm)].map((match) => match[1]?.toLowerCase())
    assert.deepEqual(names, [...STATS])
  })

  it('sizes, slots, ports and flags are those of layout.h', () => {
    const text = header('layout.h')
    const named = (name: string): number => {
      const value = new RegExp(`\\b${name} = ([^,}]+?)\\s*[,}]`).exec(text)?.[1] ?? ''
      const product = /^(\d+) \* (\w+)$/.exec(value)
      return product === null ? Number(value) : Number(product[1]) * named(product[2] ?? '')
    }
    for (const name of ['pods', 'pod_ips', 'listeners', 'dialled', 'permitted', 'in_flight', 'services', 'backends'] as const)
      assert.equal(named(`MAX_${name.toUpperCase()}`), MAPS[name].entries, name)
    assert.equal(named('MAX_CGROUPS'), MAPS.proxy_cgroups.entries)
    assert.equal(named('SLOTS'), SLOTS)
    for (const [name, port] of Object.entries(PROXY_PORTS)) assert.equal(named(`PORT_${name.toUpperCase()}`), port)
    assert.deepEqual([named('POD_INBOUND'), named('POD_OUTBOUND'), named('POD_SEALED')], [POD_INBOUND, POD_OUTBOUND, POD_SEALED])
  })

  it('keeps an IPv4 address in mapped form, and its port in host order', () => {
    const bytes = layouts.addr.encode({ ip: ip('10.0.0.7'), port: 0x1234 })
    assert.equal(bytes.toString('hex'), '00000000000000000000ffff0a00000734120000')
    assert.deepEqual(layouts.addr.decode(bytes), { ip: '10.0.0.7', port: 0x1234 })
  })

  it('reads back what it wrote', () => {
    const tuple = { netns: 5n, from: { ip: ip('10.0.0.7'), port: 1 }, to: { ip: ip('fd00::9'), port: 65535 } }
    assert.deepEqual(layouts.tuple.decode(layouts.tuple.encode(tuple)), tuple)
    const guarded = { netns: 7n, pod: { ip4: undefined, ip6: ip('fd00::9'), flags: 3 } }
    assert.deepEqual(layouts.guarded.decode(layouts.guarded.encode(guarded)), guarded)
  })
})
