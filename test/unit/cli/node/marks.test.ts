// Marks of releases on a node, as the agent reads them.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readMarks, removeMark, setMark } from '../../../../cli/node/marks.ts'
import { parseMarks } from '../../../../cni/kubernetes/release-marks.ts'

describe('marks of releases', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-marks-'))
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('are set, renewed and taken back one by one, and the agent understands them', () => {
    const directory = join(folder, 'node')
    assert.deepEqual(readMarks(directory), [])
    setMark(directory, undefined, '1')
    setMark(directory, 'shop', '1')
    setMark(directory, 'shop', '2')
    assert.deepEqual(readMarks(directory), [
      { node: true, at: '1' },
      { namespace: 'shop', at: '2' },
    ])
    assert.deepEqual(parseMarks(readFileSync(join(directory, 'released.json'), 'utf8')), { isNode: true, namespaces: new Set(['shop']) })
    assert.equal(removeMark(directory, 'other'), false)
    assert.equal(removeMark(directory, undefined), true)
    assert.deepEqual(readMarks(directory), [{ namespace: 'shop', at: '2' }])
  })
})
