// The copy of one kind: each row is a story of lists and events, and what is told of it.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import type { MeshObject } from '../../../../model/object.ts'
import { ObjectTable } from '../../../../objects/kube/object-table.ts'
import { isOlder } from '../../../../objects/kube/versions.ts'

const pod = (name: string, version: number, uid = `u-${name}`, labels?: Record<string, string>): MeshObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'shop', uid, resourceVersion: String(version), ...(labels === undefined ? {} : { labels }) },
})

const STORIES: readonly {
  readonly name: string
  readonly isQuiet?: boolean
  readonly want: readonly string[]
  tell(table: ObjectTable): void
}[] = [
  { name: 'a list', want: ['ADDED a@3', 'ADDED b@4'], tell: (t) => t.replace([pod('a', 3), pod('b', 4)], '5') },
  {
    name: 'the same list again',
    want: ['ADDED a@3'],
    tell(t) {
      t.replace([pod('a', 3)], '5')
      t.replace([pod('a', 3)], '9')
    },
  },
  {
    name: 'a list that differs',
    want: ['ADDED a@3', 'ADDED b@4', 'DELETED a@3', 'MODIFIED b@7', 'ADDED c@8'],
    tell(t) {
      t.replace([pod('a', 3), pod('b', 4)], '5')
      t.replace([pod('b', 7), pod('c', 8)], '9')
    },
  },
  {
    name: 'events that were sent before',
    want: ['ADDED a@3', 'MODIFIED a@6', 'DELETED a@7'],
    tell(t) {
      t.replace([pod('a', 3)], '5')
      for (let i = 0; i < 2; i++) {
        t.apply('ADDED', pod('a', 3))
        t.apply('MODIFIED', pod('a', 6))
        t.apply('DELETED', pod('a', 7))
      }
    },
  },
  {
    name: 'an event from before the bookmark',
    want: ['ADDED a@3'],
    tell(t) {
      t.replace([pod('a', 3)], '5')
      t.bookmark('9')
      t.bookmark('7')
      t.apply('DELETED', pod('a', 8))
    },
  },
  {
    name: 'the end of an object whose name has another one now',
    want: ['ADDED a@6'],
    tell(t) {
      t.replace([pod('a', 6, 'new')], '6')
      t.apply('DELETED', pod('a', 7, 'old'))
    },
  },
  {
    name: 'another object of the name',
    want: ['ADDED a@3', 'DELETED a@3', 'ADDED a@6'],
    tell(t) {
      t.replace([pod('a', 3, 'old')], '5')
      t.apply('MODIFIED', pod('a', 6, 'new'))
    },
  },
  {
    name: 'a change of what was trimmed off, where nobody waits for it',
    isQuiet: true,
    want: ['ADDED a@3', 'MODIFIED a@8'],
    tell(t) {
      t.replace([pod('a', 3)], '5')
      t.apply('MODIFIED', pod('a', 7))
      t.apply('MODIFIED', pod('a', 8, 'u-a', { x: 'y' }))
    },
  },
  {
    name: 'a history that begins anew',
    want: ['ADDED a@30', 'MODIFIED a@4', 'MODIFIED a@6'],
    tell(t) {
      t.replace([pod('a', 30)], '50')
      t.replace([pod('a', 4)], '5')
      t.apply('MODIFIED', pod('a', 6))
    },
  },
  {
    name: 'versions that are no numbers',
    want: ['ADDED a@3', 'MODIFIED a@6'],
    tell(t) {
      t.replace([pod('a', 3)], 'x-1')
      t.apply('MODIFIED', pod('a', 6))
      t.apply('MODIFIED', pod('a', 6))
    },
  },
]

describe('objects/kube/object-table', () => {
  for (const { name, isQuiet = false, want, tell } of STORIES)
    it(name, () => {
      const told: string[] = []
      const table = new ObjectTable({
        isQuiet,
        onEvent: ({ type, object: { metadata } }) => told.push(`${type} ${metadata.name}@${metadata.resourceVersion}`),
      })
      tell(table)
      assert.deepEqual(told, want)
    })

  it('holds the newest version also where it told nothing', () => {
    const table = new ObjectTable({ isQuiet: true, onEvent: () => undefined })
    table.replace([pod('a', 3)], '5')
    table.apply('MODIFIED', pod('a', 7))
    assert.equal(table.get('shop/a')?.metadata.resourceVersion, '7')
  })

  it('compares versions as numbers of any length, or not at all', () => {
    const rows: readonly [string | undefined, string | undefined, boolean | undefined][] = [
      ['9', '10', true],
      ['10', '9', false],
      ['10', '10', false],
      ['99999999999999999998', '99999999999999999999', true],
      ['0', '1', undefined],
      ['a', '1', undefined],
      [undefined, '1', undefined],
    ]
    for (const [a, b, want] of rows) assert.equal(isOlder(a, b), want, `${a} ${b}`)
  })
})
