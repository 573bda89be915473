// What a scene of the demo says, and what was seen of it.

/** One claim: what is said, whether it was seen, and what was seen. */
export interface Claim {
  readonly says: string
  readonly isTrue: boolean
  readonly evidence: string
}

/** How long a scene waits for what must come. */
export const SCENE_LIMIT_MS = 15_000

/** A claim. */
export function claim(says: string, isTrue: boolean, evidence: string): Claim {
  return { says, isTrue, evidence }
}
