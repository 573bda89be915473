// What an image name means on the local runtime.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { localImage, ownFolders } from '../../../runtime/images.ts'

describe('runtime/images', () => {
  for (const name of ['weft/waypoint', 'weft/waypoint:1.2', 'registry.example:5000/weft/waypoint:1', 'a/b/weft/waypoint@sha256:00'])
    it(`runs ${name} from this checkout, read-only`, () => {
      const image = localImage(name, {})
      assert.equal(image?.workingDir, '/weft')
      assert.deepEqual(image.entryPoint.at(-1), '/weft/waypoint/main.ts')
      assert.ok(image.binds.every(({ isReadOnly }) => isReadOnly))
    })

  for (const { name, root, packages, home, shown } of [
    {
      name: 'a checkout',
      root: 'src/weft',
      packages: 'src/weft/node_modules',
      home: '/weft',
      shown: ['src/weft', 'src/weft/node_modules'],
    },
    {
      name: 'a package with its packages beside it',
      root: 'app/node_modules/weft/dist',
      packages: 'app/node_modules',
      home: '/weft/node_modules/weft/dist',
      shown: ['app/node_modules'],
    },
    {
      name: 'a package that has them below it, as a global one has',
      root: 'lib/node_modules/weft/dist',
      packages: 'lib/node_modules/weft/node_modules',
      home: '/weft/node_modules/weft/dist',
      shown: ['lib/node_modules'],
    },
    {
      name: 'a store with links',
      root: 'app/node_modules/.pnpm/weft@1/node_modules/weft/dist',
      packages: 'app/node_modules/.pnpm/weft@1/node_modules',
      home: '/weft/node_modules/.pnpm/weft@1/node_modules/weft/dist',
      shown: ['app/node_modules'],
    },
  ])
    it(`finds its packages in ${name}`, () => {
      const folder = mkdtempSync(join(tmpdir(), 'weft-images-'))
      try {
        for (const path of [root, packages]) mkdirSync(join(folder, path), { recursive: true })
        const found = ownFolders(join(folder, root))
        assert.equal(found.home, home)
        assert.deepEqual(
          found.binds.map(({ from }) => from),
          shown.map((path) => join(folder, path)),
        )
      } finally {
        rmSync(folder, { recursive: true })
      }
    })

  for (const name of ['waypoint', 'other/waypoint', 'weft/waypointer', 'weft/waypoint/x'])
    it(`knows nothing of ${name}`, () => assert.equal(localImage(name, {}), undefined))

  it('prefers what is named on the command line, which has no program of its own', () => {
    const named = { 'weft/waypoint': '/srv/mine', 'weft/shop:dev': '/srv/shop' }
    assert.deepEqual(localImage('weft/waypoint', named), { binds: [], workingDir: '/srv/mine', entryPoint: [] })
    assert.equal(localImage('weft/shop:dev', named)?.workingDir, '/srv/shop')
    assert.equal(localImage('constructor', named), undefined)
    assert.equal(localImage(undefined, named), undefined)
  })
})
