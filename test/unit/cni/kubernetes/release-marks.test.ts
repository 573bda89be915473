// Releases that stand: file, annotation, and what happens when the file is not readable.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseMarks, ReleaseMarks } from '../../../../cni/kubernetes/release-marks.ts'
import type { Node } from '../../../../model/object.ts'
import { silentLog } from '../../../support/netns-lab.ts'

const AT = '2026-01-02T03:04:05Z'

describe('cni/kubernetes/release-marks', () => {
  for (const [text, want] of [
    ['[]', 'false '],
    [`[{"node":true,"at":"${AT}"}]`, 'true '],
    [`[{"namespace":"shop","at":"${AT}"},{"namespace":"pay","at":"${AT}"}]`, 'false shop,pay'],
    [`[{"node":true,"at":"${AT}"},{"namespace":"shop","at":"${AT}"}]`, 'true shop'],
    ['[{"namespace":"../x"}]', 'false '],
    ['{}', 'nothing'],
    ['[1]', 'nothing'],
    ['[{"node"', 'nothing'],
  ] as const) {
    it(`reads ${text}`, () => {
      const marks = parseMarks(text)
      assert.equal(marks === undefined ? 'nothing' : `${marks.isNode} ${[...marks.namespaces].join()}`, want)
    })
  }

  it('follows file and annotation, and keeps everything out when the file cannot be read', () => {
    const directory = mkdtempSync('/tmp/weft-marks-')
    try {
      let annotations: Record<string, string> = {}
      let changes = 0
      const node = (): Node => ({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'n', annotations } }) as Node
      using marks = new ReleaseMarks({ directory, node, log: silentLog, onChange: () => void changes++ })
      const write = (text: string): void => {
        writeFileSync(join(directory, 'released.json'), text)
        marks.look()
      }
      assert.deepEqual([marks.isReleased('shop'), marks.released()], [false, []])
      write(`[{"namespace":"shop","at":"${AT}"}]`)
      assert.deepEqual([marks.isReleased('shop'), marks.isReleased('pay'), changes], [true, false, 1])
      write('half a fi')
      assert.deepEqual([marks.released(), changes], [['node'], 2])
      write('[]')
      assert.deepEqual([marks.released(), changes], [[], 3])
      annotations = { 'weft.dev/released': AT }
      marks.look()
      assert.deepEqual([marks.isReleased('pay'), changes], [true, 4])
      marks.look()
      assert.equal(changes, 4)
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})
