// Choices by chance: which backend, which mirrors, which faults. `random` gives uniform numbers in [0, 1).
import type { FaultPolicy, Mirror, RouteFilter, RouteRule, WeightedBackend } from '../../model/route.ts'

/** What is injected into one request: first the delay, then the abort. */
export interface InjectedFault {
  readonly delayMs: number
  readonly abort: { readonly status: number; readonly grpcStatus: number | undefined } | undefined
}

const NO_FAULT: InjectedFault = Object.freeze({ delayMs: 0, abort: undefined })

/**
 * One backend, each as often as its share of the weights says; an invalid one keeps its share. Uses `random` only where
 * there is a choice.
 * @returns undefined = none has weight (500)
 */
export function chooseBackend(rule: RouteRule, random: () => number): WeightedBackend | undefined {
  const { backends } = rule
  const [first] = backends
  if (first === undefined) return undefined
  if (backends.length === 1) return first.weight > 0 ? first : undefined
  let total = 0
  let last: WeightedBackend | undefined
  for (const backend of backends) {
    if (!(backend.weight > 0)) continue
    total += backend.weight
    last = backend
  }
  if (last === undefined || last.weight === total) return last
  let rest = random() * total
  for (const backend of backends) {
    if (!(backend.weight > 0)) continue
    if (rest < backend.weight) return backend
    rest -= backend.weight
  }
  return last
}

/** The mirrors among the filters that get a copy of this request; each is drawn for itself. */
export function chooseMirrors(filters: readonly RouteFilter[], random: () => number): readonly Mirror[] {
  let chosen: Mirror[] | undefined
  for (const filter of filters) {
    if (filter.kind !== 'mirror') continue
    const { numerator, denominator } = filter.mirror
    if (!isDrawn(numerator, denominator, random)) continue
    chosen ??= []
    chosen.push(filter.mirror)
  }
  return chosen ?? []
}

/** Delay and abort are drawn for themselves, as Envoy does; percentages may have fractions. */
export function chooseFault(fault: FaultPolicy, random: () => number): InjectedFault {
  const { delay, abort } = fault
  const isDelayed = delay !== undefined && isDrawn(delay.percent, 100, random)
  const isAborted = abort !== undefined && isDrawn(abort.percent, 100, random)
  if (!isDelayed && !isAborted) return NO_FAULT
  return {
    delayMs: isDelayed ? delay.fixedMs : 0,
    abort: isAborted ? { status: abort.status, grpcStatus: abort.grpcStatus } : undefined,
  }
}

/** Neither nothing nor everything is left to chance. */
function isDrawn(numerator: number, denominator: number, random: () => number): boolean {
  if (!(numerator > 0) || !(denominator > 0)) return false
  return numerator >= denominator || random() * denominator < numerator
}
