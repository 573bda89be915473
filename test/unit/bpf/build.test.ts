// The committed objects belong to the committed sources.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { ObjectManifest } from '../../../bpf/build.ts'
import { BPF_DIRECTORY, clangVersion, compileObject, hashObjects, hashSources } from '../../../bpf/build.ts'
import { skipTest } from '../../support/skip.ts'

describe('bpf/build', () => {
  const manifest = JSON.parse(readFileSync(join(BPF_DIRECTORY, 'objects/manifest.json'), 'utf8')) as ObjectManifest

  it('the manifest names every source as it is: else run `npm run build:bpf`', () => {
    assert.deepEqual(manifest.sources, hashSources())
  })

  it('the manifest names every object as it is', () => {
    assert.deepEqual(manifest.objects, hashObjects())
    assert.match(manifest.clang, /clang version \d+/)
  })

  it('the same compiler makes the same objects, another one compiles them', function () {
    const version = clangVersion()
    if (version === undefined) skipTest(this, 'clang is not installed')
    const folder = mkdtempSync('/tmp/weft-build-')
    try {
      for (const [path, sha256] of Object.entries(manifest.objects)) {
        const name = basename(path)
        compileObject(`src/${name.replace(/o$/, 'c')}`, join(folder, name), 'include')
        const made = readFileSync(join(folder, name))
        assert.ok(made.length > 1000, name)
        if (version === manifest.clang) assert.equal(createHash('sha256').update(made).digest('hex'), sha256, name)
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  }).timeout(20_000)

  it('every source says its licence', () => {
    for (const path of Object.keys(manifest.sources))
      assert.match(
        readFileSync(join(BPF_DIRECTORY, path), 'utf8').split('\n')[0] ?? '',
        /SPDX-License-Identifier: GPL-2\.0-only OR BSD-2-Clause/,
      )
  })
})
