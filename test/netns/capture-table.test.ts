// docs/capture.md and the tests name the same cases.
import assert from 'node:assert/strict'
import { CASES, testedCases } from '../support/capture-rows.ts'

describe('docs/capture.md', () => {
  it('has a test for each row, and a row for each test', () => {
    assert.ok(CASES.size > 60)
    assert.deepEqual(testedCases().sort(), [...CASES.keys()].sort())
  })
})
