// What an image name means on the local runtime.
import assert from 'node:assert/strict'
import { localImage } from '../../../runtime/images.ts'

describe('runtime/images', () => {
  for (const name of ['weft/waypoint', 'weft/waypoint:1.2', 'registry.example:5000/weft/waypoint:1', 'a/b/weft/waypoint@sha256:00'])
    it(`runs ${name} from this checkout, read-only`, () => {
      const image = localImage(name, {})
      assert.equal(image?.workingDir, '/weft')
      assert.deepEqual(image.entryPoint.at(-1), '/weft/waypoint/main.ts')
      assert.ok(image.binds.every(({ isReadOnly }) => isReadOnly))
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
