// The committed types are what the .proto files generate.
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'mocha'
import { buildProto } from '../../../proto/build.ts'

const FOLDER = join(import.meta.dirname, '../../../proto')

describe('proto/build', () => {
  it('generates what is committed', () => {
    const out = mkdtempSync(join(tmpdir(), 'weft-proto-'))
    try {
      buildProto(out)
      const generated = readdirSync(out).sort()
      assert.deepEqual(
        generated,
        readdirSync(FOLDER)
          .filter((name) => name.endsWith('_pb.ts'))
          .sort(),
      )
      for (const name of generated) assert.equal(readFileSync(join(out, name), 'utf8'), readFileSync(join(FOLDER, name), 'utf8'), name)
    } finally {
      rmSync(out, { recursive: true, force: true })
    }
  })
})
