// Scenario files: objects as YAML, then a line `====`, then the exact resources, policy outcomes and faults. UPDATE=1 rewrites them.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'mocha'
import { parseAllDocuments } from 'yaml'
import { Publisher } from '../../../../controlplane/push/publish.ts'
import { worldOf } from '../../../../controlplane/push/world.ts'
import { Translator } from '../../../../controlplane/translate/translate.ts'
import type { MeshObject } from '../../../../model/object.ts'
import { FakeSource, NAMES } from '../../../support/fake-source.ts'
import { resourceText } from '../../../support/resource-text.ts'

const FOLDER = join(import.meta.dirname, '../../../scenario/controlplane')

function objectsOf(yaml: string): MeshObject[] {
  return parseAllDocuments(yaml)
    .map((document) => document.toJS() as MeshObject | null)
    .filter((object) => object !== null)
}

/** Translates objects in the given order, from scratch. */
function run(objects: readonly MeshObject[]): string {
  const source = new FakeSource()
  source.apply(...objects)
  const translation = new Translator(NAMES).translate(worldOf(source, new Set()))
  const publisher = new Publisher()
  publisher.publish(translation)
  const outcomes = [...translation.outcomes]
    .map(([{ metadata }, { reason, message }]) => `outcome ${metadata.namespace}/${metadata.name} ${reason}: ${message}\n`)
    .sort()
  const faults = translation.faults
    .map((fault) => `fault ${fault.kind} ${fault.namespace}/${fault.name} ${fault.field}: ${fault.message}\n`)
    .sort()
  const bindings = [...translation.bindings]
    .map(([{ metadata }, { reason, waypoint }]) => `waypoint of ${metadata.namespace}/${metadata.name} ${waypoint}: ${reason}\n`)
    .sort()
  const routes = [...translation.routeOutcomes].flatMap(([{ kind, metadata }, parents]) =>
    parents.map(({ parentRef: { kind: parent, namespace, name, port, sectionName }, findings }) => {
      const place = [parent, namespace, name, sectionName, port].filter((part) => part !== undefined).join('/')
      const lines = findings.map(({ type, status, reason, message }) => `  ${type} ${status} ${reason}: ${message}\n`)
      return `${kind} ${metadata.namespace}/${metadata.name} at ${place}\n${lines.join('')}`
    }),
  )
  const attached = [...translation.gateways]
    .filter(([, facts]) => facts.attachedRoutes > 0)
    .map(
      ([gateway, { attachedRoutes, addresses }]) =>
        `${gateway}: ${attachedRoutes} routes, ${addresses.map(({ value }) => value).join(' ')}\n`,
    )
  const istio = [...translation.istioOutcomes].map(
    ([{ kind, metadata }, { type, status, reason, message }]) =>
      `${kind} ${metadata.namespace}/${metadata.name}\n  ${type} ${status} ${reason}: ${message}\n`,
  )
  const entries = [...translation.entries].map(([{ metadata }, { finding, binding, addresses }]) => {
    const { type, status, reason, message } = finding
    const given = addresses.map(({ host, value }) => `  ${host} ${value}\n`)
    const waypoint = binding === undefined ? '' : `  waypoint ${binding.waypoint}: ${binding.reason}\n`
    return `ServiceEntry ${metadata.namespace}/${metadata.name}\n  ${type} ${status} ${reason}: ${message}\n${waypoint}${given.join('')}`
  })
  return [
    resourceText(publisher.store),
    ...outcomes,
    ...bindings,
    ...routes.sort(),
    ...istio.sort(),
    ...entries.sort(),
    ...attached.sort(),
    ...faults,
  ].join('')
}

describe('controlplane/translate scenarios', () => {
  for (const file of readdirSync(FOLDER).filter((name) => name.endsWith('.txt'))) {
    it(file, () => {
      const path = join(FOLDER, file)
      const [yaml = '', want = ''] = readFileSync(path, 'utf8').split(/^====\n/m)
      const objects = objectsOf(yaml)
      const got = run(objects)
      assert.equal(run([...objects].reverse()), got, 'the order of the objects must not matter')
      if (process.env.UPDATE === '1') writeFileSync(path, `${yaml}====\n${got}`)
      else assert.equal(got, want)
    })
  }
})
