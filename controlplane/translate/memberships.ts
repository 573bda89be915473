// Which pods serve which services, as all slices together say it. Kept from run to run: a slice that changes costs its own pods,
// and what it says of a pod counts as a change only when it says something else.
import type { ServiceKey, Workload } from '../../model/workload.ts'
import type { Membership, SliceTranslation } from './endpoint-slice.ts'

interface SliceState {
  readonly translation: SliceTranslation
  readonly member: SliceMember | undefined
  /** Shared by the pods that are in this slice only: most are. */
  readonly alone: readonly SliceMember[]
}

/** What one slice says of each of its pods. */
export interface SliceMember {
  /** `namespace/name` of the slice. */
  readonly slice: string
  readonly membership: Membership
}

const NONE: readonly SliceMember[] = []

/** Memberships of all pods. */
export class Memberships {
  readonly #slices = new Map<string, SliceState>()
  readonly #pods = new Map<string, readonly SliceMember[]>()

  /** @param pod `namespace/name` @returns sorted by slice; the same array while nothing of it changes */
  of(pod: string): readonly SliceMember[] {
    return this.#pods.get(pod) ?? NONE
  }

  /** Endpoints without a pod. */
  *bare(): Generator<Workload> {
    for (const { translation } of this.#slices.values()) yield* translation.workloads
  }

  /** Pods (`namespace/name`) that the slices of some services name, several times perhaps. */
  podsOf(services: ReadonlySet<ServiceKey>): Map<ServiceKey, string[]> {
    const pods = new Map<ServiceKey, string[]>()
    for (const { translation, member } of this.#slices.values()) {
      const key = member?.membership.serviceKey ?? ''
      if (!services.has(key)) continue
      const list = pods.get(key) ?? []
      pods.set(key, list)
      for (const pod of translation.pods.keys()) list.push(pod)
    }
    return pods
  }

  /**
   * Takes what all slices say now.
   * @param slices by the slice's `namespace/name`; an unchanged one is the same value as before
   * @returns pods of which something else is said now
   */
  update(slices: ReadonlyMap<string, SliceTranslation>): ReadonlySet<string> {
    const changed = new Set<string>()
    for (const key of this.#slices.keys()) if (!slices.has(key)) this.#take(key, undefined, changed)
    for (const [key, translation] of slices) this.#take(key, translation, changed)
    return changed
  }

  #take(key: string, next: SliceTranslation | undefined, changed: Set<string>): void {
    const old = this.#slices.get(key)
    if (old?.translation === next) return
    const state = next && stateOf(key, next, old)
    const isSame = old !== undefined && state?.member === old.member
    for (const pod of old?.translation.pods.keys() ?? []) {
      if (next?.pods.has(pod) === true) continue
      this.#put(pod, key, undefined)
      changed.add(pod)
    }
    for (const pod of next?.pods.keys() ?? []) {
      if (isSame && old.translation.pods.has(pod)) continue
      this.#put(pod, key, state)
      changed.add(pod)
    }
    if (state === undefined) this.#slices.delete(key)
    else this.#slices.set(key, state)
  }

  #put(pod: string, slice: string, state: SliceState | undefined): void {
    const others = this.of(pod).filter((member) => member.slice !== slice)
    if (others.length > 0) this.#pods.set(pod, [...others, ...(state?.alone ?? [])].sort(bySlice))
    else if (state === undefined) this.#pods.delete(pod)
    else this.#pods.set(pod, state.alone)
  }
}

/** Every pod of a slice has the same membership. */
function stateOf(slice: string, translation: SliceTranslation, old: SliceState | undefined): SliceState {
  const [membership] = translation.pods.values()
  if (membership === undefined) return { translation, member: undefined, alone: NONE }
  if (old?.member !== undefined && isSameMembership(old.member.membership, membership)) return { ...old, translation }
  const member = { slice, membership }
  return { translation, member, alone: [member] }
}

function isSameMembership(a: Membership, b: Membership): boolean {
  const isSamePort = ({ servicePort, targetPort }: Membership['ports'][number], i: number): boolean =>
    b.ports[i]?.servicePort === servicePort && b.ports[i].targetPort === targetPort
  return a.serviceKey === b.serviceKey && a.ports.length === b.ports.length && a.ports.every(isSamePort)
}

function bySlice(a: SliceMember, b: SliceMember): number {
  return a.slice < b.slice ? -1 : 1
}
