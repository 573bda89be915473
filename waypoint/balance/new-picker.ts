// The picker of each policy.
import type { BalancerPolicy } from '../../model/backend.ts'
import { LeastRequest } from './least-request.ts'
import { Maglev } from './maglev.ts'
import type { Member } from './member.ts'
import type { Picker } from './picker.ts'
import { RingHash } from './ring-hash.ts'
import { RoundRobin } from './round-robin.ts'
import type { SlowStart } from './slow-start.ts'
import { WeightedRandom } from './weighted-random.ts'

/**
 * Makes the picker of one group.
 * @param slowStart hashing pickers leave it aside, as Envoy's do: keys would move with every step of a warm-up
 */
export function newPicker(policy: BalancerPolicy, members: readonly Member[], slowStart: SlowStart, random: () => number): Picker {
  switch (policy.kind) {
    case 'leastRequest':
      return new LeastRequest(members, slowStart, random)
    case 'roundRobin':
      return new RoundRobin(members, slowStart, random)
    case 'random':
      return new WeightedRandom(members, slowStart, random)
    case 'ringHash':
      return new RingHash(members, policy.minimumRingSize)
    case 'maglev':
      return new Maglev(members, policy.tableSize)
    default:
      return policy satisfies never
  }
}
