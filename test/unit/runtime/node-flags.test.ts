// The flags of a waypoint's interpreter, wherever one is started.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { localImage } from '../../../runtime/images.ts'
import { WAYPOINT_NODE_FLAGS } from '../../../runtime/node-flags.ts'

const CHART = join(import.meta.dirname, '../../../deploy/chart/templates/controlplane/deployment.yaml')

describe('runtime/node-flags', () => {
  it('are known to this interpreter', () => {
    const { status, stderr } = spawnSync(process.execPath, [...WAYPOINT_NODE_FLAGS, '-e', '0'], { encoding: 'utf8' })
    assert.equal(status, 0, stderr)
  })

  it('are those of the chart', () => {
    const command = `--waypoint-command=node ${WAYPOINT_NODE_FLAGS.join(' ')} waypoint/main.js`
    assert.ok(readFileSync(CHART, 'utf8').includes(`- ${command}\n`), `${CHART} does not have ${command}`)
  })

  it('are those of the local runtime', () => {
    const [, ...args] = localImage('weft/waypoint', {})?.entryPoint ?? []
    assert.deepEqual(args.slice(0, -1), WAYPOINT_NODE_FLAGS)
  })
})
