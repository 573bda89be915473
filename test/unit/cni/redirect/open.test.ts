// Which way is chosen, and what is said about it.
import assert from 'node:assert/strict'
import { chooseRedirect } from '../../../../cni/redirect/open.ts'

const CASES = [
  { wish: 'ebpf', obstacle: 'Linux 5.4 is older than 5.15', want: { mode: 'ebpf', reason: 'asked for' } },
  { wish: 'nftables', obstacle: undefined, want: { mode: 'nftables', reason: 'asked for' } },
  { wish: 'auto', obstacle: undefined, want: { mode: 'ebpf', reason: 'the kernel has what it needs' } },
  { wish: 'auto', obstacle: 'Linux 5.4 is older than 5.15', want: { mode: 'nftables', reason: 'Linux 5.4 is older than 5.15' } },
] as const

describe('cni/redirect/open', () => {
  for (const { wish, obstacle, want } of CASES) {
    it(`${wish}${obstacle === undefined ? '' : ' on an old kernel'}: ${want.mode}`, () => {
      assert.deepEqual(
        chooseRedirect(wish, () => obstacle),
        want,
      )
    })
  }
})
