// When memory is given back: for a while after a storm, and not because of a drizzle.
import assert from 'node:assert/strict'
import { MemoryTrimmer } from '../../../ztunnel/trim.ts'
import { FakeClock } from '../../support/fake-clock.ts'

async function trims(counts: readonly number[]): Promise<number[]> {
  const clock = new FakeClock()
  let look = 0
  const at: number[] = []
  using _trimmer = new MemoryTrimmer({ clock, open: () => counts[look] ?? 0, trim: () => at.push(look) })
  for (look = 0; look < counts.length; look++) await clock.advance(10_000)
  return at
}

describe('ztunnel/trim', () => {
  const rows: { name: string; counts: number[]; want: number[] }[] = [
    { name: 'ten times after a storm', counts: [10, 4000, 3000, ...Array<number>(12).fill(50)], want: [3, 4, 5, 6, 7, 8, 9, 10, 11, 12] },
    { name: 'through the next storm', counts: [4000, 10, 4000, 10], want: [1, 2, 3] },
    { name: 'not after a few connections', counts: [200, 0, 200, 0], want: [] },
    { name: 'not while it goes on', counts: [4000, 3000, 2500, 2001], want: [] },
  ]
  for (const { name, counts, want } of rows) {
    it(name, async () => assert.deepEqual(await trims(counts), want))
  }
})
