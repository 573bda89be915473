// Exchanges of all sorts through a waypoint, many at once: every byte comes back right, what breaks off is seen to break off, what the
// client gives up is given up at the application, and the waypoint keeps neither tunnels nor memory.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { findSandbox } from '../../cli/command/exec.ts'
import type { MixReport } from '../support/waypoint-mix.ts'
import { appService, SPACE, WAYPOINT, WaypointStage } from '../support/waypoint-stage.ts'

const MIX = join(import.meta.dirname, '..', 'support', 'waypoint-mix.ts')
const EXCHANGES = Number(process.env.WEFT_SOAK_EXCHANGES ?? 4000)
const AT_ONCE = 100
const ROUNDS = 4
/** What a node process grows by without leaking: buffers and compiled code, settled after the first rounds. */
const GROWTH = 1.25

describe('exchanges through a waypoint', function () {
  this.timeout('280s')
  let stage: WaypointStage

  before(async () => {
    stage = await WaypointStage.open([appService('mixed')])
  })
  after(async () => {
    await stage?.[Symbol.asyncDispose]()
  })

  const round = async (seed: number): Promise<MixReport> => {
    const args = ['mixed', EXCHANGES, AT_ONCE, seed].map(String)
    const { stdout, stderr } = await stage.client.exec([process.execPath, MIX, ...args], { timeoutMs: 120_000 })
    assert.ok(stdout.startsWith('{'), `the client said ${stdout}${stderr}`)
    return JSON.parse(stdout) as MixReport
  }

  const residentKib = (): number => {
    const [pid] = Object.values(findSandbox(stage.mesh.mesh.layout, `${SPACE}/${WAYPOINT}`).containers)
    return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1])
  }

  const openTunnels = async (): Promise<number> => {
    const { stdout } = await (await stage.waypoint()).script(
      `console.log(await (await fetch('http://127.0.0.1:15000/config_dump')).text())`,
    )
    return (JSON.parse(stdout) as { connections: { tunnels: number } }).connections.tunnels
  }

  it('are carried exactly, and leave nothing behind', async () => {
    const sizes: number[] = []
    for (let seed = 1; seed <= ROUNDS; seed++) {
      const report = await round(seed)
      const text = JSON.stringify(report)
      if (process.env.WEFT_TEST_TALK) console.log(text)
      assert.deepEqual([report.damaged, report.failed], [{}, {}], text)
      assert.equal(report.whole + report.cut + report.left, EXCHANGES, text)
      assert.ok(Math.min(report.whole, report.cut, report.left) > EXCHANGES / 10, text)
      await stage.mesh.until('the waypoint has let go of every tunnel', async () => (await openTunnels()) === 0)
      sizes.push(residentKib())
    }
    await stage.mesh.until('the application has been let go', async () => {
      const [held, released] = await Promise.all([stage.counts('/hold'), stage.counts('released')])
      return held.v1 + held.v2 === released.v1 + released.v2
    })
    const [, warm = 0] = sizes
    assert.ok((sizes.at(-1) ?? 0) < warm * GROWTH, `the waypoint has grown: ${sizes.join(', ')} KiB`)
    if (process.env.WEFT_TEST_TALK) console.log(sizes.join(', '))
  })
})
