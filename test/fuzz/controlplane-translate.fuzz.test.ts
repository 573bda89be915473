// Objects with random damage into the translation: it never throws, publishes only what proxies can read, and the damage of one
// object leaves every other object's resources as they were. A warm translator gives the same as a fresh one.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { parseAllDocuments } from 'yaml'
import { Publisher } from '../../controlplane/push/publish.ts'
import { worldOf } from '../../controlplane/push/world.ts'
import { Translator } from '../../controlplane/translate/translate.ts'
import type { MeshObject } from '../../model/object.ts'
import { FakeSource, NAMES } from '../support/fake-source.ts'
import { DECODERS } from '../support/resource-text.ts'

const TIME_LIMIT_MS = 20_000
const FOLDER = join(import.meta.dirname, '../scenario/controlplane')

const objects: readonly MeshObject[] = readdirSync(FOLDER)
  .flatMap((file) => parseAllDocuments(readFileSync(join(FOLDER, file), 'utf8').split(/^====\n/m)[0] ?? ''))
  .map((document) => document.toJS() as MeshObject | null)
  .filter((object) => object !== null)

/** Every place below spec, status, metadata.labels and the like that can be damaged. */
function placesOf(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [path]
  return [path, ...Object.entries(value).flatMap(([key, each]) => placesOf(each, [...path, key]))]
}

function damaged(object: MeshObject, path: readonly string[], value: unknown): MeshObject {
  const [key, ...rest] = path
  if (key === undefined) return value as MeshObject
  const copy = (Array.isArray(object) ? [...object] : { ...object }) as unknown as Record<string, unknown>
  copy[key] = damaged(copy[key] as MeshObject, rest, value)
  return copy as unknown as MeshObject
}

const junk = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    undefined,
    0,
    -1,
    65_536,
    1e300,
    '',
    '*',
    'a/b',
    '\u0000',
    '::ffff:1.2.3.4/1',
    '10.0.0.0/8',
    [],
    {},
    [null],
    [[]],
    { a: null },
    true,
  ),
  fc.string({ maxLength: 20 }),
  fc.integer(),
)
/** Places per object. Kind, name and namespace are the store's own keys and always there. */
const places = objects.map((object) =>
  placesOf(object).filter(
    ([top, second]) =>
      top !== undefined &&
      !['kind', 'apiVersion'].includes(top) &&
      (top !== 'metadata' || !['name', 'namespace', undefined].includes(second)),
  ),
)
const damageable = [...places.keys()].filter((index) => (places[index] ?? []).length > 0)
const damage = fc
  .constantFrom(...damageable)
  .chain((index) => fc.tuple(fc.constant(index), fc.constantFrom(...(places[index] ?? [])), junk))

function publish(translator: Translator, list: readonly MeshObject[]): Publisher {
  const source = new FakeSource()
  source.apply(...list)
  const publisher = new Publisher()
  publisher.publish(translator.translate(worldOf(source, new Set())))
  return publisher
}

function textOf(publisher: Publisher): string {
  return publisher.store.typeUrls
    .flatMap((typeUrl) => [...publisher.store.snapshot(typeUrl)].map(([name, { version }]) => `${name} ${version}`))
    .sort()
    .join('\n')
}

describe('fuzz: controlplane translation', function () {
  this.timeout(5 * TIME_LIMIT_MS)

  it('survives any damage of any object', () => {
    const warm = new Translator(NAMES)
    fc.assert(
      fc.property(fc.array(damage, { minLength: 1, maxLength: 3 }), (damages) => {
        const list = [...objects]
        for (const [index, path, value] of damages) list[index] = damaged(list[index] as MeshObject, path, value)
        const fresh = publish(new Translator(NAMES), list)
        assert.equal(textOf(publish(warm, list)), textOf(fresh))
        for (const typeUrl of fresh.store.typeUrls) {
          for (const [name, { bytes }] of fresh.store.snapshot(typeUrl)) {
            const decoded = DECODERS[typeUrl]?.(bytes)
            assert.ok(decoded?.ok, `${name}: ${decoded?.ok === false ? decoded.errors.join('; ') : typeUrl}`)
          }
        }
      }),
      { numRuns: 20_000, interruptAfterTimeLimit: TIME_LIMIT_MS },
    )
  })
})
