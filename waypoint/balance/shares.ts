// How much of the traffic each group of endpoints gets, from how many of its members are healthy: levels overflow into the next
// one, groups of one level share by weight. Envoy's arithmetic (priority levels, locality weights, panic), in fractions.

/** A level with 72 % of its members healthy still carries its full share. */
export const OVERPROVISION = 1.4

/** One group of members; groups are sorted by level. */
export interface GroupHealth {
  readonly level: number
  /** Share within the level, > 0. */
  readonly weight: number
  /** Members in all, > 0. */
  readonly total: number
  readonly healthy: number
}

/** What a group gets. */
export interface GroupShare {
  /** 0…1; the shares of all groups add up to 1, or are all 0: nobody is healthy and panic is off. */
  readonly share: number
  /** Whether ejections are ignored in it, since too few are healthy. */
  readonly isPanicking: boolean
}

interface Level {
  total: number
  healthy: number
  share: number
  isPanicking: boolean
}

/**
 * Computes the shares.
 * @param minHealthPercent below this share of healthy members, 0–100, a level panics; 0 = never. While the levels together can
 *   carry everything, none of several levels panics.
 */
export function sharesOf(groups: readonly GroupHealth[], minHealthPercent: number): readonly GroupShare[] {
  const levels = levelsOf(groups)
  const capacity = Math.min(
    1,
    levels.reduce((sum, level) => sum + capacityOf(level), 0),
  )
  const mayPanic = levels.length === 1 || capacity < 1
  for (const level of levels) level.isPanicking = mayPanic && level.healthy * 100 < minHealthPercent * level.total
  if (levels.every((level) => level.isPanicking)) shareByCount(levels)
  else if (capacity > 0) shareByHealth(levels, capacity)
  return groups.map((group) => {
    const level = levels[group.level]
    const sum = groups.reduce((all, other) => (other.level === group.level ? all + pull(other, level) : all), 0)
    return { share: sum === 0 ? 0 : ((level?.share ?? 0) * pull(group, level)) / sum, isPanicking: level?.isPanicking ?? false }
  })
}

function levelsOf(groups: readonly GroupHealth[]): Level[] {
  const levels: Level[] = []
  for (const { level, total, healthy } of groups) {
    const row = levels[level] ?? { total: 0, healthy: 0, share: 0, isPanicking: false }
    row.total += total
    row.healthy += healthy
    levels[level] = row
  }
  return levels
}

function capacityOf({ healthy, total }: { healthy: number; total: number }): number {
  return Math.min(1, (OVERPROVISION * healthy) / total)
}

function pull(group: GroupHealth, level: Level | undefined): number {
  return level?.isPanicking === true ? group.weight : group.weight * capacityOf(group)
}

/** Every level panics: members are all the same then. */
function shareByCount(levels: readonly Level[]): void {
  const total = levels.reduce((sum, level) => sum + level.total, 0)
  for (const level of levels) level.share = level.total / total
}

/** Each level takes what it can carry of what the nearer ones left. */
function shareByHealth(levels: readonly Level[], capacity: number): void {
  let left = 1
  for (const level of levels) {
    level.share = Math.min(left, capacityOf(level) / capacity)
    left -= level.share
  }
}
