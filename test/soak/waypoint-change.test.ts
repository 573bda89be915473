// A waypoint while things change: routes are edited under load, and its process is killed. Every answer must belong to a
// configuration that was in force at some time while it was asked for, and nothing may go round a waypoint that is gone.
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { findSandbox } from '../../cli/command/exec.ts'
import type { Pod } from '../../model/object.ts'
import type { LoadOptions } from '../support/waypoint-load.ts'
import { appService, backend, httpRoute, SPACE, WAYPOINT, WaypointStage } from '../support/waypoint-stage.ts'

const EDITS = 1000
const EDIT_EVERY_MS = 15
const EDIT_EFFECT_MS = 1000
const BACK_WITHIN_MS = 10_000
const route = (edit: number): object =>
  httpRoute('edited', [
    {
      filters: [{ type: 'ResponseHeaderModifier', responseHeaderModifier: { set: [{ name: 'x-edit', value: String(edit) }] } }],
      backendRefs: [backend('v1')],
    },
  ])
const LOAD: LoadOptions = { url: 'http://edited/', connections: 32, perSecond: 200, header: 'x-edit' }
/** For the edits. */
const MUCH: LoadOptions = { ...LOAD, perSecond: 1000 }
const now = (): number => performance.timeOrigin + performance.now()

describe('a waypoint in change', function () {
  this.timeout('120s')
  let stage: WaypointStage

  before(async () => {
    stage = await WaypointStage.open([appService('edited'), route(0)])
  })
  after(async () => {
    await stage?.[Symbol.asyncDispose]()
  })

  it('answers by a configuration that was in force, while routes are edited under load', async () => {
    const appliedMs: number[] = [Number.NEGATIVE_INFINITY]
    const report = await stage.under(stage.client, MUCH, async () => {
      await pause(500)
      for (let edit = 1; edit <= EDITS; edit++) {
        appliedMs[edit] = now()
        await stage.mesh.apply(route(edit))
        await pause(EDIT_EVERY_MS)
      }
      await pause(EDIT_EFFECT_MS)
    })
    assert.deepEqual([Object.keys(report.status), report.errors], [['200'], {}])
    const answers = report.answers.toSorted((a, b) => a[1] - b[1])
    const inForce: number[] = [] // the newest edit that was seen up to each answer
    const effectMs: number[] = []
    let newest = 0
    let before = 0 // answers that were there when this one was asked for
    const asked = report.answers.toSorted((a, b) => a[0] - b[0])
    for (const [sentMs, answeredMs, , value] of answers) {
      const edit = Number(value)
      assert.ok(
        value !== '' && (appliedMs[edit] ?? Infinity) < answeredMs,
        `answer of edit ${value}, sent at ${sentMs}, before it was made`,
      )
      for (; newest < edit; newest++) effectMs.push(answeredMs - (appliedMs[newest + 1] ?? 0))
      inForce.push(newest)
    }
    for (const answer of asked) {
      while (before < answers.length && (answers[before]?.[1] ?? Infinity) < answer[0]) before++
      const seen = before === 0 ? 0 : (inForce[before - 1] ?? 0)
      assert.ok(Number(answer[3]) >= seen, `edit ${answer[3]} after ${seen} was in force`) // what was seen may not be undone
    }
    assert.equal(newest, EDITS)
    effectMs.sort((a, b) => a - b)
    const p99 = effectMs[Math.floor(effectMs.length * 0.99)] ?? Infinity
    assert.ok(p99 < EDIT_EFFECT_MS, `edit to effect: p99 ${p99} ms`)
    console.log(
      `      edit to effect: p50 ${Math.round(effectMs[EDITS >> 1] ?? 0)} ms, p99 ${Math.round(p99)} ms; ${report.answers.length} answers`,
    )
  })

  /** Pods of a Deployment that have not been told to end. */
  const newest = (name: string): readonly Pod[] =>
    (stage.mesh.mesh.store.list('pods', SPACE) as Pod[]).filter(
      ({ metadata }) => metadata.name.startsWith(`${name}-`) && metadata.deletionTimestamp === undefined,
    )
  const isReady = ({ status }: Pod): boolean => status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true

  /** Gives a Deployment a new template and waits until all of its pods are new and ready; the old ones have been told to end. */
  const replace = async (name: string, replicas: number): Promise<void> => {
    const old = new Set(newest(name).map(({ metadata }) => metadata.name))
    const template = { metadata: { annotations: { replaced: String(now()) } } }
    await stage.mesh.client.patch('deployments', SPACE, name, { spec: { template } })
    await stage.mesh.until(`${name} is replaced`, () => {
      const pods = newest(name)
      return pods.length === replicas && pods.every((pod) => isReady(pod) && !old.has(pod.metadata.name))
    })
  }

  it('loses nothing when the application is replaced under load', async () => {
    const report = await stage.under(stage.client, LOAD, async () => {
      await pause(300)
      await replace('web-v1', 1)
      await pause(1500) // the old pod's grace
    })
    assert.deepEqual([Object.keys(report.status), report.errors], [['200'], {}])
  })

  it('comes back after a kill -9 under load, and nothing goes round it', async () => {
    const pod = await stage.waypoint()
    let killedMs = 0
    const report = await stage.under(stage.client, LOAD, async () => {
      await pause(500)
      const [pid] = Object.values(findSandbox(stage.mesh.mesh.layout, `${SPACE}/${WAYPOINT}`).containers)
      assert.ok(pid !== undefined)
      killedMs = now()
      process.kill(pid, 'SIGKILL')
      await stage.mesh.until('requests are answered again', async () => (await stage.get(stage.client, 'edited')).status === 200)
      await pause(1000)
    })
    const failed = report.answers.filter((each) => each[2] !== 200)
    assert.ok(failed.length > 0, 'nobody noticed')
    for (const [sentMs, endMs, status, value] of failed)
      assert.ok(endMs > killedMs && sentMs < killedMs + BACK_WITHIN_MS, `${status} ${value} at ${sentMs - killedMs} ms`)
    const lastMs = Math.max(...failed.map((each) => each[1])) - killedMs
    assert.ok(report.answers.some((each) => each[0] > killedMs + lastMs && each[2] === 200))
    for (const peer of await stage.peers()) assert.ok([pod.ip, pod.ip6].includes(peer), `${peer} has reached the application`)
    console.log(
      `      away for ${Math.round(lastMs)} ms: ${failed.length} of ${report.sent} requests failed, ${JSON.stringify(report.errors)} ${JSON.stringify(report.status)}`,
    )
  })

  it('loses nothing when it is replaced itself', async () => {
    await stage.mesh.client.patch('deployments', SPACE, WAYPOINT, { spec: { replicas: 2 } })
    await stage.mesh.until('a second waypoint is ready', () => newest(WAYPOINT).filter(isReady).length === 2)
    const report = await stage.under(stage.client, LOAD, async () => {
      await pause(300)
      await replace(WAYPOINT, 2)
      await pause(2500) // until the old ones have drained
    })
    assert.deepEqual([Object.keys(report.status), report.errors], [['200'], {}])
  })

  it('loses nothing when the namespace leaves it and comes back', async () => {
    const fresh = { ...LOAD, perSecond: 100, headers: { connection: 'close' }, header: 'x-version' }
    const report = await stage.under(stage.client, fresh, async () => {
      for (const waypoint of [null, WAYPOINT]) {
        await pause(300)
        await stage.mesh.label(SPACE, { 'istio.io/use-waypoint': waypoint })
        await pause(2300) // what goes round a waypoint that was just set is refused after 2 s
      }
    })
    assert.deepEqual([Object.keys(report.status), report.errors], [['200'], {}])
  })
})
