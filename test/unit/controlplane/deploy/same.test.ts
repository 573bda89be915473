// What the API and others add to an object is no difference; what was changed is one.
import assert from 'node:assert/strict'
import { contains } from '../../../../controlplane/deploy/same.ts'

describe('contains', () => {
  const container = { name: 'waypoint', image: 'weft:1' }
  const rows: { name: string; have: unknown; want: unknown; given: boolean }[] = [
    { name: 'defaults that the API filled in', have: { port: 1, protocol: 'TCP' }, want: { port: 1 }, given: true },
    { name: 'another value', have: { port: 2 }, want: { port: 1 }, given: false },
    { name: 'a field that was taken away', have: {}, want: { port: 1 }, given: false },
    { name: 'a quantity in its shortest form', have: { cpu: '1' }, want: { cpu: '1000m' }, given: true },
    { name: 'a quantity in other units', have: { memory: '1Gi' }, want: { memory: '1024Mi' }, given: true },
    { name: 'another quantity', have: { memory: '2Gi' }, want: { memory: '1Gi' }, given: false },
    { name: 'a container put in by an admission plugin', have: [{ name: 'agent' }, container], want: [container], given: true },
    { name: 'a container whose image was changed', have: [{ ...container, image: 'other' }], want: [container], given: false },
    { name: 'a container that is gone', have: [], want: [container], given: false },
    { name: 'a list without names that grew', have: ['a', 'b'], want: ['a'], given: false },
    { name: 'an empty list that nobody keeps', have: undefined, want: [], given: true },
    { name: 'something that is no list any more', have: { 0: 'a' }, want: ['a'], given: false },
  ]
  for (const { name, have, want, given } of rows) it(`${given ? 'takes' : 'sees'} ${name}`, () => assert.equal(contains(have, want), given))
})
