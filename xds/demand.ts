// What on-demand clients asked for, by key, so that a change costs those that it concerns and not all. A key is the name of a
// resource, one of its aliases or a group; what it finds brings along the resources that have it as a group: an address finds its
// service, the service brings its endpoints.
import { keysOf } from './held-resource.ts'
import type { ChangeBatch, PushSource, ServedResource } from './push-source.ts'

/** Somebody who asked for keys of one kind. */
export interface Follower {
  readonly typeUrl: string
  hasDemanded(key: string): boolean
  /** A resource is to be sent to the follower, or to be taken from it. */
  touch(name: string): void
}

/** Names that a key stands for. Empty = there is none. */
export function resolve(source: PushSource, typeUrl: string, key: string): ReadonlySet<string> {
  const names = new Set<string>(source.membersOf(typeUrl, key))
  if (source.snapshot(typeUrl).has(key)) names.add(key)
  for (const name of [...names]) for (const member of source.membersOf(typeUrl, name)) names.add(member)
  return names
}

/** Whether what a follower asked for stands for a resource, among others; the other direction of `resolve`. */
export function isReached(source: PushSource, follower: Follower, name: string): boolean {
  const resources = source.snapshot(follower.typeUrl)
  const resource = resources.get(name)
  if (resource === undefined) return false
  if (follower.hasDemanded(name) || hasDemandedAny(follower, resource)) return true
  const isBrought = (key: string): boolean => {
    const holder = resources.get(key)
    return holder !== undefined && hasDemandedAny(follower, holder)
  }
  return resource.groups.some(isBrought) || resource.aliases.some(isBrought)
}

function hasDemandedAny(follower: Follower, { aliases, groups }: ServedResource): boolean {
  return aliases.some((key) => follower.hasDemanded(key)) || groups.some((key) => follower.hasDemanded(key))
}

/** Followers by kind and key. */
export class Demand {
  readonly #source: PushSource
  readonly #followers: ReadonlyMap<string, Map<string, Set<Follower>>>

  constructor(source: PushSource) {
    this.#source = source
    this.#followers = new Map(source.typeUrls.map((typeUrl) => [typeUrl, new Map()]))
  }

  add(follower: Follower, key: string): void {
    const keys = this.#followers.get(follower.typeUrl)
    const found = keys?.get(key)
    if (found === undefined) keys?.set(key, new Set([follower]))
    else found.add(follower)
  }

  delete(follower: Follower, key: string): void {
    const keys = this.#followers.get(follower.typeUrl)
    const found = keys?.get(key)
    found?.delete(follower)
    if (found?.size === 0) keys?.delete(key)
  }

  /** Touches, for every follower that a change concerns, what has changed for it. */
  offer(batch: ChangeBatch): void {
    const followers = this.#followers.get(batch.typeUrl)
    if (followers === undefined || followers.size === 0) return
    for (const [name, { before, after }] of batch.changes) {
      for (const follower of this.#concernedBy(followers, batch, name)) follower.touch(name)
      const [old, next] = [keysOf(before), keysOf(after)]
      const moved = [...old.filter((key) => !next.includes(key)), ...next.filter((key) => !old.includes(key))]
      this.#touchMembers(followers, batch.typeUrl, name, moved)
    }
  }

  /** Those that follow a resource as it was or as it is, by itself or by what brings it along. */
  #concernedBy(followers: ReadonlyMap<string, ReadonlySet<Follower>>, batch: ChangeBatch, name: string): ReadonlySet<Follower> {
    const resources = this.#source.snapshot(batch.typeUrl)
    const change = batch.changes.get(name)
    const keys = new Set([name])
    for (const key of [...keysOf(change?.before), ...keysOf(change?.after)]) {
      keys.add(key)
      const holders: (ServedResource | undefined)[] = [batch.changes.get(key)?.before, resources.get(key)]
      for (const holder of holders) for (const outer of keysOf(holder)) keys.add(outer)
    }
    const concerned = new Set<Follower>()
    for (const key of keys) for (const follower of followers.get(key) ?? []) concerned.add(follower)
    return concerned
  }

  /** A resource has got or lost keys: whoever follows one of these gets or loses its members too. */
  #touchMembers(followers: ReadonlyMap<string, ReadonlySet<Follower>>, typeUrl: string, name: string, keys: readonly string[]): void {
    for (const key of keys)
      for (const follower of followers.get(key) ?? []) for (const member of this.#source.membersOf(typeUrl, name)) follower.touch(member)
  }
}
