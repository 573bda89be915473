// All RateLimitPolicies over all listeners. Keeps what it made.
import type { RateLimitPolicy } from '../../../model/istio-networking.ts'
import type { MeshObject } from '../../../model/object.ts'
import type { Listener } from '../../../model/route.ts'
import type { Finding } from '../gateway/finding.ts'
import { KeptValues } from './kept.ts'
import {
  hitsOn,
  limited,
  type Limited,
  type LimitHit,
  type LimitWorld,
  type ParsedRateLimit,
  parseRateLimit,
  rateLimitFinding,
} from './rate-limit.ts'

interface ListenerMemo {
  readonly base: Listener
  readonly hits: readonly LimitHit[]
  readonly made: Limited
}

/** Translates again and again. */
export class RateLimits {
  readonly #kept = new KeptValues<RateLimitPolicy, ParsedRateLimit>()
  #memos = new Map<string, ListenerMemo>()

  /** One run. */
  run(
    objects: readonly RateLimitPolicy[],
    listeners: ReadonlyMap<string, Listener>,
    world: LimitWorld,
  ): { listeners: ReadonlyMap<string, Listener>; findings: ReadonlyMap<MeshObject, Finding> } {
    const parsed = this.#kept.parse(objects, (object) => parseRateLimit(object, world.names))
    const policies = [...parsed.values()].sort(compareAge)
    const found = new Map<ParsedRateLimit, Set<number>>()
    const full = new Set<ParsedRateLimit>()
    const result = new Map<string, Listener>()
    const memos = new Map<string, ListenerMemo>()
    for (const [name, base] of listeners) {
      const hits = hitsOn(base, policies, world)
      for (const { parsed: item, target } of hits) found.set(item, (found.get(item) ?? new Set()).add(target))
      if (hits.length === 0) {
        result.set(name, base)
        continue
      }
      const known = this.#memos.get(name)
      const memo = known?.base === base && isSame(known.hits, hits) ? known : { base, hits, made: limited(base, hits) }
      memos.set(name, memo)
      result.set(name, memo.made.listener)
      for (const item of memo.made.full) full.add(item)
    }
    this.#memos = memos
    const findings = new Map<RateLimitPolicy, Finding>()
    for (const [object, item] of parsed) findings.set(object, rateLimitFinding(item, found.get(item) ?? new Set(), full.has(item), world))
    return { listeners: result, findings: this.#kept.keep(findings) }
  }
}

function isSame(a: readonly LimitHit[], b: readonly LimitHit[]): boolean {
  return a.length === b.length && a.every((hit, i) => hit.parsed === b[i]?.parsed && hit.target === b[i]?.target)
}

/** Oldest first, then by name. */
function compareAge(a: ParsedRateLimit, b: ParsedRateLimit): number {
  const [left, right] = [a, b].map(({ createdAt, namespace, name }) => `${createdAt === '' ? '~' : createdAt} ${namespace}/${name}`)
  return (left ?? '') < (right ?? '') ? -1 : 1
}
