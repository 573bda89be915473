// Enrolment and release of one pod as a state machine: a pure transition function. Each stage has one effect (steps.ts),
// run when the stage is entered; its outcome comes back as `done` or `failed`. The order is the design's:
// announce → steer → capture → guard → publish, and back: unpublish → wait → unguard → uncapture → unsteer → part → retract.
// Every effect may be repeated, so that a cancelled release simply climbs again from `announcing`.

/** Where a pod is. `out` and `enrolled` rest; `failed`, `quiescing`, `parting` and `stuck` wait and can be interrupted. */
export type Stage =
  | 'out'
  | 'announcing'
  | 'steering'
  | 'capturing'
  | 'guarding'
  | 'publishing'
  | 'enrolled'
  | 'undoing'
  | 'marking'
  | 'failed'
  | 'securing'
  | 'unpublishing'
  | 'quiescing'
  | 'unguarding'
  | 'uncapturing'
  | 'unsteering'
  | 'parting'
  | 'retracting'
  | 'stuck'
  | 'gone'

/** Every stage, for tables and for reading files. */
export const STAGES: readonly Stage[] = [
  ...(['out', 'announcing', 'steering', 'capturing', 'guarding', 'publishing', 'enrolled', 'undoing', 'marking', 'failed'] as const),
  ...([
    'securing',
    'unpublishing',
    'quiescing',
    'unguarding',
    'uncapturing',
    'unsteering',
    'parting',
    'retracting',
    'stuck',
    'gone',
  ] as const),
]

/**
 * What happens: the label says in or out; the stage's effect ended; the kernel differs from what it should be; ztunnel no
 * longer serves the pod; now is a good time to try again; the pod is gone.
 */
export type EnrolEvent = 'in' | 'out' | 'done' | 'failed' | 'drift' | 'lost' | 'retry' | 'gone'

/** Every event, for tables. */
export const EVENTS: readonly EnrolEvent[] = ['in', 'out', 'done', 'failed', 'drift', 'lost', 'retry', 'gone']

/** Kept in the pod's file. */
export interface Enrolment {
  readonly stage: Stage
  /** What labels and annotations ask for. */
  readonly wanted: 'in' | 'out'
  /**
   * Peers may have been told that the pod speaks HBONE. Set before it is published, cleared when it is unpublished and the
   * wait is over. While set, a failure leaves the capture in force: the pod must not fall back to plaintext.
   */
  readonly isPublished: boolean
}

/** The next state; `isEntered` = the stage begins (again): run its effect and stop the one that ran. */
export interface Transition {
  readonly state: Enrolment
  readonly isEntered: boolean
}

/** A pod that the agent was told about. */
export const OUTSIDE: Enrolment = { stage: 'out', wanted: 'out', isPublished: false }

/** Pure; defined for every pair of stage and event. */
export function next(state: Enrolment, event: EnrolEvent): Transition {
  if (state.stage === 'gone') return stay(state)
  switch (event) {
    case 'gone':
      return enter(state, 'gone')
    case 'in':
    case 'out':
      return onWanted({ ...state, wanted: event })
    case 'done':
      return onDone(state)
    case 'failed':
      return onFailed(state)
    case 'drift':
      return onDrift(state)
    case 'lost':
      return state.stage === 'enrolled' ? enter(state, 'announcing') : stay(state)
    case 'retry':
      if (state.stage === 'failed') return enter(state, 'announcing')
      return state.stage === 'stuck' ? enter(state, 'unguarding') : stay(state)
    default:
      return event satisfies never
  }
}

/** Working stages finish their effect first; then `done` looks at `wanted`. */
function onWanted(state: Enrolment): Transition {
  const { stage, wanted } = state
  if (wanted === 'in') {
    const isWaiting = stage === 'out' || stage === 'quiescing' || stage === 'parting' || stage === 'stuck'
    return isWaiting ? enter(state, 'announcing') : stay(state)
  }
  return stage === 'enrolled' || stage === 'failed' ? enter(state, 'unpublishing') : stay(state)
}

function onDone(state: Enrolment): Transition {
  const climb = CLIMB[state.stage]
  if (climb !== undefined) return enter(state, state.wanted === 'in' ? climb : 'unpublishing')
  const descend = DESCEND[state.stage]
  if (descend === undefined) return stay(state) // out, enrolled: nothing was asked
  const after = state.stage === 'quiescing' ? { ...state, isPublished: false } : state
  return enter(after, state.wanted === 'out' ? descend : 'announcing')
}

function onFailed(state: Enrolment): Transition {
  switch (state.stage) {
    case 'announcing':
    case 'steering':
    case 'capturing':
    case 'guarding':
    case 'publishing':
      return enter(state, state.isPublished ? 'marking' : 'undoing')
    case 'unguarding':
    case 'uncapturing':
    case 'unsteering':
      return enter(state, 'stuck')
    case 'unpublishing': // nothing may be taken from a pod that peers rely on, nor its mark be left behind
      return enter(state, state.wanted === 'out' ? 'unpublishing' : 'announcing')
    default:
      return onDone(state) // what is only said or waited for does not hold anything up
  }
}

/** Repair: kernel first for a pod that peers rely on, then everything once more; leftovers of a pod that is out go away. */
function onDrift(state: Enrolment): Transition {
  if (state.stage === 'out') return enter(state, 'unguarding')
  return state.stage === 'enrolled' || (state.stage === 'failed' && state.isPublished) ? enter(state, 'securing') : stay(state)
}

/** Stage -> the stage after it on the way in. */
const CLIMB: Partial<Record<Stage, Stage>> = {
  announcing: 'steering',
  steering: 'capturing',
  capturing: 'guarding',
  guarding: 'publishing',
  publishing: 'enrolled',
  undoing: 'marking',
  marking: 'failed',
  securing: 'announcing',
  failed: 'announcing',
}

/** Stage -> the stage after it on the way out. */
const DESCEND: Partial<Record<Stage, Stage>> = {
  unpublishing: 'quiescing',
  quiescing: 'unguarding',
  unguarding: 'uncapturing',
  uncapturing: 'unsteering',
  unsteering: 'parting',
  parting: 'retracting',
  retracting: 'out',
  stuck: 'unguarding',
}

function enter(state: Enrolment, stage: Stage): Transition {
  return { state: { ...state, stage, isPublished: state.isPublished || stage === 'publishing' }, isEntered: true }
}

function stay(state: Enrolment): Transition {
  return { state, isEntered: false }
}
