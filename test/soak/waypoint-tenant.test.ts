// One tenant makes thousands of broken routes, for its own calls and for a neighbour's service: each is refused or says in its status
// what is wrong, the neighbour's requests go on, and so do the edits of its routes.
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { codeOf } from '../../kit/error.ts'
import type { Condition, MeshObject } from '../../model/object.ts'
import type { LoadOptions } from '../support/waypoint-load.ts'
import { appService, backend, httpRoute, SPACE, WaypointStage } from '../support/waypoint-stage.ts'

/** The translation of 10,000 is shown in test/unit/controlplane/translate/gateway/routes.test.ts. */
const OBJECTS = Number(process.env.WEFT_SOAK_OBJECTS ?? 2000)
const AT_ONCE = 50
const TENANT = 'guests'
const EDIT_WITHIN_MS = 10_000
const TOLD_WITHIN_MS = 180_000
const LOAD: LoadOptions = { url: 'http://steady/', connections: 8, perSecond: 50, header: 'x-edit' }
const edited = (edit: number): object =>
  httpRoute('steady', [
    {
      filters: [{ type: 'ResponseHeaderModifier', responseHeaderModifier: { set: [{ name: 'x-edit', value: String(edit) }] } }],
      backendRefs: [backend('v1')],
    },
  ])
const exact = (path: string): object => ({ path: { type: 'Exact', value: path } })
const regex = (value: string): object => ({ path: { type: 'RegularExpression', value } })

/** Rules of which nothing can be made, one kind after the other. */
const RULES: readonly ((index: number) => object)[] = [
  () => ({ matches: [regex('(')], backendRefs: [backend('v1')] }),
  () => ({ matches: [regex('(a+)+\\1')], backendRefs: [backend('v1')] }),
  () => ({ backendRefs: [{ ...backend('v1'), weight: 2_000_000 }] }),
  () => ({ backendRefs: [{ ...backend('v1'), weight: -1 }] }),
  (index) => ({ matches: [exact(`/${index}`)], backendRefs: [{ name: `nobody-${index}`, port: 80 }] }),
  () => ({ matches: [exact('/same')], backendRefs: [{ name: 'nobody', port: 80 }] }),
  () => ({ backendRefs: [{ kind: 'Potato', group: 'farm.example', name: 'x', port: 80 }] }),
  () => ({ filters: [{ type: 'ExtensionRef', extensionRef: { group: 'x', kind: 'Y', name: 'z' } }], backendRefs: [backend('v1')] }),
]

function broken(index: number): MeshObject {
  const rule = RULES[index % RULES.length]?.(index)
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: `broken-${index}`, namespace: TENANT },
    spec: { parentRefs: [{ group: '', kind: 'Service', namespace: SPACE, name: 'steady', port: 80 }], rules: [rule] },
  }
}

/** Whether its status says that something is wrong. */
function saysSo(object: MeshObject): boolean {
  const { parents = [] } = (object.status ?? {}) as { parents?: readonly { conditions?: readonly Condition[] }[] }
  return parents.some(({ conditions = [] }) => conditions.some(({ type, status }) => (type === 'PartiallyInvalid') === (status === 'True')))
}

describe('a tenant with broken routes', function () {
  this.timeout('300s')
  let stage: WaypointStage

  before(async () => {
    stage = await WaypointStage.open([appService('steady'), edited(0)])
  })
  after(async () => {
    await stage?.[Symbol.asyncDispose]()
  })

  it('is told what is wrong, and nobody else notices', async () => {
    const refused: Record<string, number> = {}
    let next = 0
    let effectMs = Number.POSITIVE_INFINITY
    const make = async (): Promise<void> => {
      for (let index = next++; index < OBJECTS; index = next++)
        await stage.mesh.client.apply(broken(index)).catch((error: unknown) => {
          const code = codeOf(error) ?? String(error)
          refused[code] = (refused[code] ?? 0) + 1
        })
    }
    const report = await stage.under(stage.client, LOAD, async () => {
      await pause(1000)
      await Promise.all(Array.from({ length: AT_ONCE }, make))
      const stored = (): readonly MeshObject[] => stage.mesh.mesh.store.list('httproutes', TENANT)
      for (const endMs = performance.now() + TOLD_WITHIN_MS; !stored().every(saysSo); await pause(1000))
        assert.ok(performance.now() < endMs, `${stored().filter((one) => !saysSo(one)).length} routes say nothing`)
      console.log(`      ${stored().length} stored, each with a status that says what is wrong; refused: ${JSON.stringify(refused)}`)
      assert.equal(stored().length + Object.values(refused).reduce((sum, one) => sum + one, 0), OBJECTS)
      assert.ok(stored().length >= OBJECTS / 4)
      const beganMs = performance.now()
      await stage.mesh.apply(edited(1))
      await stage.mesh.until('the edit is in force', async () => (await stage.get(stage.client, 'steady')).headers['x-edit'] === '1')
      effectMs = performance.now() - beganMs
      assert.equal(saysSo(stage.mesh.mesh.store.get('httproutes', SPACE, 'steady')), false) // a good one says nothing of the kind
    })
    console.log(
      `      ${report.sent} requests, p50 ${report.p50Ms} ms, p99 ${report.p99Ms} ms; an edit after it in ${Math.round(effectMs)} ms`,
    )
    assert.deepEqual([report.status, report.errors], [{ 200: report.sent }, {}])
    assert.deepEqual(Object.keys(report.values).sort(), ['0', '1'])
    assert.ok(effectMs < EDIT_WITHIN_MS, `${effectMs} ms`)
  })
})
