// Kernel releases and the programs' feature bits.
import assert from 'node:assert/strict'
import { featureBits, isBpffs, isSupportedKernel } from '../../../bpf/feature.ts'

describe('bpf/feature', () => {
  for (const [release, want] of [
    ['5.14.21', false],
    ['5.15.0-91-generic', true],
    ['4.19.0', false],
    ['6.18.44-fc-v470', true],
    ['', false],
  ] as const)
    it(`kernel ${JSON.stringify(release)}: ${want ? 'new enough' : 'too old'}`, () => assert.equal(isSupportedKernel(release), want))

  it('sets one bit per ability', () => {
    assert.equal(featureBits({ setRetval: true, mptcp: false }), 1n)
    assert.equal(featureBits({ setRetval: false, mptcp: true }), 2n)
  })

  it('knows a bpffs from other file systems, and a missing directory', () => {
    assert.equal(isBpffs('/tmp'), false)
    assert.equal(isBpffs('/nowhere'), false)
  })
})
