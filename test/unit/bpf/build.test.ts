// The committed objects belong to the committed sources.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ObjectManifest } from '../../../bpf/build.ts'
import { BPF_DIRECTORY, hashObjects, hashSources } from '../../../bpf/build.ts'

describe('bpf/build', () => {
  const manifest = JSON.parse(readFileSync(join(BPF_DIRECTORY, 'objects/manifest.json'), 'utf8')) as ObjectManifest

  it('the manifest names every source as it is: else run `npm run build:bpf`', () => {
    assert.deepEqual(manifest.sources, hashSources())
  })

  it('the manifest names every object as it is', () => {
    assert.deepEqual(manifest.objects, hashObjects())
    assert.match(manifest.clang, /clang version \d+/)
  })

  it('every source says its licence', () => {
    for (const path of Object.keys(manifest.sources))
      assert.match(
        readFileSync(join(BPF_DIRECTORY, path), 'utf8').split('\n')[0] ?? '',
        /SPDX-License-Identifier: GPL-2\.0-only OR BSD-2-Clause/,
      )
  })
})
