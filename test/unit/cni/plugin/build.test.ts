// The committed plugins belong to the committed source.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { PLUGIN_DIRECTORY, PLUGIN_TARGETS, type PluginArch, pluginBinary } from '../../../../cni/plugin/binary.ts'
import { compilePlugin, type PluginManifest, pluginTools, sha256Of } from '../../../../cni/plugin/build.ts'
import { skipTest } from '../../../support/skip.ts'

describe('cni/plugin/build', () => {
  const manifest = JSON.parse(readFileSync(join(PLUGIN_DIRECTORY, 'objects/manifest.json'), 'utf8')) as PluginManifest
  const architectures = Object.keys(PLUGIN_TARGETS) as PluginArch[]

  it('the manifest names source and binaries as they are: else run `npm run build:cni`', () => {
    assert.equal(manifest.source, sha256Of(join(PLUGIN_DIRECTORY, 'weft-cni.c')))
    for (const arch of architectures) assert.equal(manifest.binaries[`weft-cni-${arch}`], sha256Of(pluginBinary(arch)))
  })

  it('the binaries are static files of their architecture that stay small', () => {
    for (const [arch, machine] of [
      ['x64', 62],
      ['arm64', 183],
    ] as const) {
      const file = readFileSync(pluginBinary(arch))
      assert.equal(file.toString('latin1', 0, 4), '\x7fELF')
      assert.equal(file.readUInt16LE(16), 2, 'an executable at a fixed address, which needs no loader')
      assert.equal(file.readUInt16LE(18), machine)
      assert.ok(file.length < 16 * 1024)
    }
  })

  it('the same tools make the same binaries, others compile them', function () {
    const tools = pluginTools()
    if (tools === undefined) skipTest(this, 'clang or lld is not installed')
    const folder = mkdtempSync('/tmp/weft-plugin-')
    try {
      for (const arch of architectures) {
        compilePlugin(arch, join(folder, arch))
        const isSame = tools.clang === manifest.clang && tools.lld === manifest.lld
        if (isSame) assert.equal(sha256Of(join(folder, arch)), manifest.binaries[`weft-cni-${arch}`])
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  }).timeout(20_000)

  it('the source stays short enough to be read in one sitting', () => {
    assert.ok(readFileSync(join(PLUGIN_DIRECTORY, 'weft-cni.c'), 'utf8').split('\n').length <= 301)
  })
})
