// What a scene of the demo says, and what was seen of it.

/** One claim: what is said, whether it was seen, and what was seen. */
export interface Claim {
  readonly says: string
  readonly isTrue: boolean
  readonly evidence: string
  /** Why it could not be tried here; then nothing was seen, and that is no fault. */
  readonly notTried?: string
  /** More of what was seen, of several lines. */
  readonly picture?: string
}

/** How long a scene waits for what must come. */
export const SCENE_LIMIT_MS = 15_000

/** A claim. */
export function claim(says: string, isTrue: boolean, evidence: string): Claim {
  return { says, isTrue, evidence }
}
